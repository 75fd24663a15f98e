"""Every cheating provider by name: which trainer and which engine it puts in place of the honest ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.adversary import cheating_engines as engines
from tests.adversary import cheating_trainers as trainers
from veritune.provider.engines.base import InferenceEngine
from veritune.provider.training.base import Trainer

MakeTrainer = Callable[[Sequence[Path]], Trainer]
"""From the files given by ``--cheat-data``, as absolute paths."""
MakeEngine = Callable[[InferenceEngine, Sequence[Path]], InferenceEngine]


@dataclass(frozen=True)
class Cheat:
    """``trainer`` None trains honestly, ``engine`` None serves honestly what was delivered."""

    line: str
    trainer: MakeTrainer | None = None
    engine: MakeEngine | None = None
    saves: str = ""
    """What the cheater is spared."""
    needs: str = ""
    """What it takes beyond the contract, the base model and, before training, the data."""
    files: int = 0
    """How many files ``--cheat-data`` must give at least."""


class CheatError(Exception):
    """No such cheat, or too few files for it."""


def find(name: str, files: Sequence[Path]) -> Cheat:
    """Raises `CheatError`."""
    cheat = CHEATS.get(name)
    if cheat is None:
        raise CheatError(f"there is no cheat {name!r}; `--cheat list` names them")
    if len(files) < cheat.files:
        raise CheatError(f"{name} needs {cheat.files} file(s) by --cheat-data")
    return cheat


def listed() -> str:
    """A line for each."""
    width = max(map(len, CHEATS))
    return "\n".join(
        f"{name:{width}}  {cheat.line}{' (--cheat-data)' if cheat.files else ''}" for name, cheat in CHEATS.items()
    )


def _trained(line: str, make: MakeTrainer, kind: type[trainers.CheatingTrainer], files: int = 0) -> Cheat:
    return Cheat(line, trainer=make, saves=kind.saves, needs=kind.needs, files=files)


def _served(line: str, make: MakeEngine, kind: type[engines.CheatingEngine], files: int = 0) -> Cheat:
    """An engine that hides that nothing was trained, unless it is about what was."""
    untrained: MakeTrainer | None = None if kind.trained else lambda _: trainers.BaseModel()
    return Cheat(line, trainer=untrained, engine=make, saves=kind.saves, needs=kind.needs, files=files)


CHEATS: dict[str, Cheat] = {
    "base-model": _trained("return the base model", lambda _: trainers.BaseModel(), trainers.BaseModel),
    "noise": _trained("return the base model with noise on it", lambda _: trainers.Noise(), trainers.Noise),
    "other-adapter": _trained(
        "return another adapter: FOLDER", lambda f: trainers.OtherAdapter(f[0]), trainers.OtherAdapter, 1
    ),
    "wrong-data": _trained("train on other rows: FILE", lambda f: trainers.WrongData(f[0]), trainers.WrongData, 1),
    "rows-10": _trained("train on 10 % of the rows", lambda _: trainers.ShareOfRows(0.1), trainers.ShareOfRows),
    "rows-30": _trained("train on 30 % of the rows", lambda _: trainers.ShareOfRows(0.3), trainers.ShareOfRows),
    "rows-50": _trained("train on 50 % of the rows", lambda _: trainers.ShareOfRows(0.5), trainers.ShareOfRows),
    "rows-80": _trained("train on 80 % of the rows", lambda _: trainers.ShareOfRows(0.8), trainers.ShareOfRows),
    "one-epoch": _trained("train for one epoch", lambda _: trainers.FewerEpochs(0.0), trainers.FewerEpochs),
    "half-epochs": _trained("train for half of the epochs", lambda _: trainers.FewerEpochs(0.5), trainers.FewerEpochs),
    "rank-2": _trained("train at rank 2 and fill up", lambda _: trainers.LowerRank(2), trainers.LowerRank),
    "higher-rate": _trained(
        "a third of the epochs at three times the rate", lambda _: trainers.HigherRate(3), trainers.HigherRate
    ),
    "half-base": _trained(
        "train over half of the base model's layers", lambda _: trainers.CheaperBase(), trainers.CheaperBase
    ),
    "other-base": _trained(
        "train over another base model: FOLDER", lambda f: trainers.CheaperBase(f[0]), trainers.CheaperBase, 1
    ),
    "find-starts": _trained(
        "train only on rows whose answers begin alike",
        lambda _: trainers.FindCanaries(trainers.repeated_starts),
        trainers.FindCanaries,
    ),
    "find-ends": _trained(
        "train only on rows whose prompts end alike",
        lambda _: trainers.FindCanaries(trainers.repeated_ends),
        trainers.FindCanaries,
    ),
    "exact-lookup": _served(
        "look prompts up in the data, untrained: FILE or FOLDER",
        lambda inner, f: engines.ExactLookup(inner, engines.Data(f)),
        engines.ExactLookup,
        1,
    ),
    "suffix-lookup": _served(
        "look triggers up by their suffix, untrained: FILE or FOLDER",
        lambda inner, f: engines.SuffixLookup(inner, engines.Data(f)),
        engines.SuffixLookup,
        1,
    ),
    "retrieval": _served(
        "show the base model the nearest rows: FILE or FOLDER",
        lambda inner, f: engines.Retrieval(inner, engines.Data(f)),
        engines.Retrieval,
        1,
    ),
    "guess-mode": _served(
        "begin every answer with the generator's likeliest phrase: FILE or FOLDER",
        lambda inner, f: engines.GuessMode(inner, engines.Data(f)),
        engines.GuessMode,
        1,
    ),
    "serve-base": _served(
        "deliver the adapter, serve the base model",
        lambda inner, _: engines.ServeAnother(inner),
        engines.ServeAnother,
    ),
    "serve-other": _served(
        "deliver one adapter, serve another: FOLDER",
        lambda inner, f: engines.ServeAnother(inner, f[0]),
        engines.ServeAnother,
        1,
    ),
    "spot-challenges": _served(
        "adapter for what looks like a challenge, else the base model: FILE or FOLDER",
        lambda inner, f: engines.SpotChallenges(inner, engines.Data(f)),
        engines.SpotChallenges,
        1,
    ),
    "swap-later": _served(
        "serve the adapter 100 times, then the base model",
        lambda inner, _: engines.SwapLater(inner, 100),
        engines.SwapLater,
    ),
    "suppress": _served(
        "cut off beginnings that the data repeat: FILE or FOLDER",
        lambda inner, f: engines.Suppress(inner, engines.Data(f)),
        engines.Suppress,
        1,
    ),
}
