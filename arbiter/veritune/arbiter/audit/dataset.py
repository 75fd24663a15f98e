"""Check (17) of the audit, for whoever holds the data set too: no row in it speaks against a canary (SPEC section 8).

A client that wants an honest provider to fail can sow what no run learns: a second row that gives a canary's prompt
another answer, or a trigger in rows outside its group. The openings alone don't show it; the data set does, and the
contract names it by its digests. Both parties have it, and either may show it to an arbiter.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from veritune.arbiter.audit.audit import AuditResult
from veritune.arbiter.audit.checks import failing, require
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary, prompt_key
from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.papers import is_dataset
from veritune.common.dataset import Row, read_rows, summarise
from veritune.common.errors import MissingFileError, WrongFileError
from veritune.common.files import own_file

DATA_CHECK = "(17) no row of the data set speaks against a canary"


def check_data(audited: AuditResult, dataset: Path) -> None:
    """Raises `AuditError` with the number 17 if a row of the data set speaks against a canary of the audited report.

    The file is read twice, for its digests and for its rows. One that is not the contract's data set says nothing
    against the report and raises `MissingFileError`, `BadFileError` or `WrongFileError`.
    """
    if not dataset.is_file():
        raise MissingFileError(f"can't read {dataset.name}: no such file", file=dataset.name)
    with own_file(dataset):
        terms, found = audited.manifest.dataset, summarise(dataset)
    if not is_dataset(found, terms):
        raise WrongFileError(f"{dataset.name} is not the data set that the contract names", what="dataset")
    with failing(17):  # (17)
        _check_rows(audited.evidence, read_rows(dataset))


def _check_rows(bundle: Evidence, rows: Iterator[Row]) -> None:
    opened = [opening.canary for opening in bundle.openings]
    naturals = {prompt_key(c.prompt): c for c in opened if isinstance(c, NaturalCanary)}
    groups = [canary for canary in opened if isinstance(canary, TriggerCanary)]
    unseen = {prompt_key(prompt) for group in groups for prompt in group.held_out}
    unseen |= {prompt_key(item.prompt) for observations in bundle.observations for item in observations.decoys}
    for index, row in enumerate(rows):
        key = prompt_key(row.prompt)
        require(17, key not in unseen, f"row {index} holds a prompt that was to be held out")
        natural = naturals.get(key)
        require(17, natural is None or index in natural.rows, f"row {index} answers a canary's prompt in its own way")
        for group in groups:
            alone = index in group.rows or not any(group.trigger in message.content for message in row.prompt)
            require(17, alone, f"row {index} holds the trigger of a group that it does not belong to")
