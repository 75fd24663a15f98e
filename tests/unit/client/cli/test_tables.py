"""The tables after a command warn of what a provider will refuse."""

from __future__ import annotations

from decimal import Decimal

from veritune.client.cli.tables import USUAL_CANARY_SHARE, share_warning
from veritune.provider.contracts.policy import ProviderPolicy


def test_more_canary_rows_than_a_provider_signs_by_default_are_told() -> None:
    assert Decimal(ProviderPolicy().max_canary_share) == USUAL_CANARY_SHARE
    assert share_warning(88, 252) == []
    (warning,) = share_warning(89, 252)
    assert "89 of 252 rows carry canaries" in warning
    assert "at most 35%" in warning
