"""The demo's rules for a delivered adapter, as `examples/tickets/veritune.toml` states them."""

from __future__ import annotations

from veritune.common.documents.manifest import Policy

DEMO = Policy(beta="1e-4", natural_floor="0.7", coverage_floor="0.5")
