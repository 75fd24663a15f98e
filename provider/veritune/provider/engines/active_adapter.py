"""Which adapter a PEFT model answers with: one for the whole batch where that is enough, else one a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from veritune.provider.engines.batch import BASE


@contextmanager
def answering_with(model: Any, adapters: Sequence[str]) -> Iterator[bool]:
    """Lets a PEFT model answer rows of these adapters; yields whether the caller must name each row's own.

    Rows that all have one adapter, or none, need no names: PEFT's layers then leave out the search for each row's,
    and the copies of rows that go with it.
    """
    if len(set(adapters)) > 1:
        yield True
    elif adapters[0] == BASE:
        with model.disable_adapter():
            yield False
    else:
        if model.active_adapters != [adapters[0]]:
            model.set_adapter(adapters[0], inference_mode=True)
        yield False
