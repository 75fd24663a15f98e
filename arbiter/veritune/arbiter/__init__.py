"""The arbiter: whether a report's verdict follows from its evidence, recomputed by anybody who holds two public keys.

`audit_files` reads a report and its evidence and returns an `AuditResult`, or raises an error that names the check
that failed. Both are loaded when they are asked for: whoever needs one room of the arbiter loads that room alone.
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
