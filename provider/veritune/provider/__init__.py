"""Provider: the daemon that countersigns contracts, trains adapters, serves them and signs receipts.

In      a configuration, base models, a signing key
Out     signed contracts and receipts, adapters, signed answers
Reads   arbiter.papers; common; v1
Never   client
Start   daemon.server.build_server, cli.main

>>> from veritune.provider.daemon.config import ProviderConfig
>>> ProviderConfig().listen
'127.0.0.1:8470'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veritune.provider.daemon.server import build_server

__all__ = ["build_server"]


def __getattr__(name: str) -> object:
    # The daemon brings gRPC, the database and an engine: nothing of it is loaded before it is asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from veritune.provider.daemon import server

    return getattr(server, name)
