"""Runs detectors over a prepared data set, stores each result, and draws a chart.

``redteam.json`` is replaced whole after each detector; a result that it holds for the same rows is not computed again.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from veritune.client.progress import Progress, no_progress
from veritune.client.redteam.chart import draw
from veritune.client.redteam.detectors.asked import AskedDetector, Asker
from veritune.client.redteam.detectors.detector import Detector
from veritune.client.redteam.figures import DetectorFigures, RedTeamFigures, measure
from veritune.client.redteam.kinds import KINDS, Kind, kinds_of
from veritune.client.redteam.registry import choose
from veritune.client.sowing.sealed import Secrets
from veritune.common.dataset import Row, read_rows
from veritune.common.errors import RowsError, UsageError, VerituneError, WrongFileError
from veritune.common.files import own_file, write_atomic

if TYPE_CHECKING:
    from veritune.client.redteam.detectors.base_model import BaseModel

FIGURES, PICTURE = "redteam.json", "redteam.svg"
"""The files that a red-team run writes."""


@dataclass(frozen=True)
class RedTeam:
    """The settings of a red-team run."""

    names: Sequence[str] = ("cheap",)
    """Names of detectors and of groups of them (`registry.GROUPS`)."""
    sample: int | None = None
    """Largest number of plain rows, drawn at random, that detectors see beside all canaries; None: all."""
    endpoint: str = ""
    """Address, without ``/chat/completions``, of the endpoint for the detector ``asked``; empty: the base model."""
    endpoint_model: str = ""
    """The endpoint's name for its model."""
    fresh: bool = False
    """True: results of earlier runs are computed again."""

    def check(self) -> None:
        """Raises `UsageError` for an unknown detector or half an endpoint, `PlanError` for an unfit endpoint."""
        choose(self.names, self.asker())

    def asker(self) -> Asker | None:
        """The client of the endpoint; None if the base model is asked. Raises `UsageError` or `PlanError`."""
        if bool(self.endpoint) != bool(self.endpoint_model):
            raise UsageError("an endpoint needs both an address and a model: --endpoint and --endpoint-model")
        if not self.endpoint:
            return None
        from veritune.client.generation.openai_text_model import OpenAITextModel

        return OpenAITextModel(self.endpoint, self.endpoint_model)


class PreparedForRedTeam:
    """The rows that detectors see, and the kind of each row, which only the user knows.

    ``rows`` and ``kinds`` have one entry for each row; the kind of a plain row is None.
    """

    def __init__(self, train: Path, secrets: Secrets, sample: int | None = None) -> None:
        """Reads the training set ``train``, with at most ``sample`` plain rows.

        Raises `WrongFileError` if the secrets belong to another data set, `RowsError` if there are no canaries or no
        plain rows.
        """
        with train.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self.sha256 != secrets.train_sha256:
            raise WrongFileError(f"{train.name} is not the data set that the sealed secrets belong to", what="dataset")
        places = kinds_of((leaf.canary for leaf in secrets.leaves), secrets.generators)
        with own_file(train):
            rows = list(read_rows(train))
        plain = [i for i in range(len(rows)) if i not in places]
        if not plain or not places:
            raise RowsError("to tell canaries from other rows takes both, and one of them is missing", cause="one_kind")
        self.sample = None if sample is None or sample >= len(plain) else sample
        if self.sample is not None:
            plain = random.Random(self.sha256).sample(plain, self.sample)  # noqa: S311 - a sample, no secret
        kept = sorted([*plain, *places])
        self.rows: list[Row] = [rows[i] for i in kept]
        self.kinds: list[Kind | None] = [places.get(i) for i in kept]

    def nothing_yet(self) -> RedTeamFigures:
        """The counts of rows, without a result of a detector."""
        counts = {kind: count for kind in KINDS if (count := self.kinds.count(kind))}
        return RedTeamFigures(
            train_sha256=self.sha256,
            sampled=self.sample,
            plain_rows=self.kinds.count(None),
            canary_rows=counts,
            detectors={},
        )


def run_attack(
    wanted: RedTeam,
    prepared: PreparedForRedTeam,
    load_model: Callable[[], BaseModel],
    model_digest: Callable[[], str],
    out: Path,
    on_progress: Progress = no_progress,
) -> RedTeamFigures:
    """The results of all wanted detectors; those that are missing are computed.

    Writes ``redteam.json`` and ``redteam.svg`` into ``out``, readable by the owner alone. ``load_model`` and
    ``model_digest`` are called at most once, and only if a detector needs the base model. Raises as `RedTeam.check`
    does, and what detectors raise; earlier results then stay on disk.
    """
    asker = wanted.asker()
    chosen = choose(wanted.names, asker)
    path, figures = out / FIGURES, prepared.nothing_yet()
    old = _read(path)
    if old is not None and old.model_copy(update={"detectors": {}}) == figures:
        figures = old
    digest = model_digest() if any(detector.needs != "nothing" for detector in chosen) else ""
    model: BaseModel | None = None
    out.mkdir(parents=True, exist_ok=True)
    for detector in chosen:
        basis = _basis(detector, digest, wanted)
        known = figures.detectors.get(detector.name)
        if known is not None and known.basis == basis and not wanted.fresh:
            continue
        if detector.needs != "nothing" and model is None:
            on_progress("load base model", 0, 0)
            model = load_model()
        on_progress(detector.name, 0, 0)
        started = time.monotonic()
        suspicion = detector.suspicion(prepared.rows, model, on_progress)
        found = DetectorFigures(
            needs=detector.needs,
            basis=basis,
            seconds=f"{time.monotonic() - started:.1f}",
            kinds=measure(suspicion, prepared.kinds),
        )
        figures = figures.with_detector(detector.name, found)
        write_atomic(path, figures.to_bytes())
    write_atomic(out / PICTURE, draw(figures).encode("utf-8"))
    return figures


def _basis(detector: Detector, digest: str, wanted: RedTeam) -> str:
    if detector.needs != "nothing":
        return digest
    return wanted.endpoint_model if detector.name == AskedDetector.name else ""


def _read(path: Path) -> RedTeamFigures | None:
    """The results of an earlier run; None if there are none that can be used."""
    try:
        return RedTeamFigures.from_file(path)
    except (FileNotFoundError, VerituneError):
        return None
