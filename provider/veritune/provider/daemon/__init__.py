"""Daemon: every part of a provider made, joined, served over TLS, and stopped in order.

In      a configuration
Out     a running server, its health, a clean stop
Reads   common; provider.clock, provider.contracts, provider.hardware, provider.jobs, provider.models,
        provider.receipts, provider.rpc, provider.serving, provider.storage, provider.telemetry; v1
Never   client
Start   server.build_server, server.Daemon, config.ProviderConfig

>>> from pathlib import Path
>>> from veritune.provider.daemon.config import ProviderConfig
>>> ProviderConfig(state=Path("/srv/veritune")).database_url
'sqlite:////srv/veritune/provider.db'
"""
