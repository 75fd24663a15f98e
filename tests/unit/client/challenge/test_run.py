"""A challenge whose endpoint left out a receipt's number: whose fault it is stays the same however often one asks."""

from __future__ import annotations

from pathlib import Path

from tests.support.challenge_folder import MAX_TOKENS, Desk, Knowing, exchange, lay
from tests.support.errors import fails
from tests.support.exchange import Behaviour
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.common.errors import OutOfOrderError


def test_a_number_that_is_left_out_is_the_providers_fault_when_all_is_answered_too(tmp_path: Path) -> None:
    deal = exchange()
    table = lay(tmp_path, deal)
    model = Knowing(deal, Behaviour())
    table.deliver(model)
    table.run().ask_served(lambda _: Desk(deal, model, ReceiptNumbers((1,))), lambda: model, MAX_TOKENS)
    again = table.run()
    assert again.is_answered("served")
    with fails(OutOfOrderError, cause="gap", receipt="1"):
        again.evidence()
