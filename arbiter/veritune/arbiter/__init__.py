"""Arbiter: whether a report's verdict follows from its evidence, recomputed by anybody who holds two public keys.

In      a report, its evidence, the client's and the provider's public keys; the data set where it is at hand
Out     an `AuditResult`, or an `AuditError` with the number of the check that failed
Reads   common
Never   client, provider, grpc, sqlalchemy
Start   audit.audit.audit_files, verdict.judge.judge_evidence, measure.local_model.LocalModel

`audit_files` and `AuditResult` are loaded when they are asked for: whoever needs one room loads that room alone.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.arbiter import audit_files
>>> from veritune.common.errors import AuditError
>>> from veritune.common.keys import PrivateKey
>>> with TemporaryDirectory() as name:
...     report, evidence, client, provider = (Path(name, part) for part in ("report", "evidence", "client", "provider"))
...     for key in (client, provider):
...         PrivateKey.generate().public.save(key)
...     for file in (report, evidence):
...         _ = file.write_bytes(b"{}")
...     try:
...         audit_files(report, evidence, client, provider)
...     except AuditError as error:
...         print(error.check)
1
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veritune.arbiter.audit.audit import AuditResult, audit_files

__all__ = ["AuditResult", "audit_files"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from veritune.arbiter.audit import audit

        return getattr(audit, name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
