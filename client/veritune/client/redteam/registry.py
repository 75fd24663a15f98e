"""All detectors, and their selection by name or group."""

from __future__ import annotations

from collections.abc import Sequence

from veritune.client.redteam.detectors.answer_length import AnswerLength
from veritune.client.redteam.detectors.asked import AskedDetector, Asker
from veritune.client.redteam.detectors.clusters import Clusters, Neighbours
from veritune.client.redteam.detectors.detector import Detector
from veritune.client.redteam.detectors.gradients import GradientEntropy, GradientNeighbours
from veritune.client.redteam.detectors.kgrams import RepeatedPhrases
from veritune.client.redteam.detectors.loss_drop import LossDrop
from veritune.client.redteam.detectors.missing_parts import MissingParts
from veritune.client.redteam.detectors.near_duplicates import NearDuplicates
from veritune.client.redteam.detectors.odd_characters import OddCharacters
from veritune.client.redteam.detectors.perplexity import START_TOKENS, Perplexity
from veritune.common.errors import UsageError

GROUPS = ("cheap", "model", "all")
"""Names of groups: ``cheap`` detectors need only the rows, ``model`` ones a language model too; ``all`` is both."""


def detectors(asker: Asker | None = None) -> tuple[Detector, ...]:
    """All detectors, the cheapest first; the detector ``asked`` asks ``asker``, or the base model if it is None."""
    return (
        RepeatedPhrases("longest"),
        RepeatedPhrases("most"),
        OddCharacters(),
        AnswerLength(),
        MissingParts(),
        NearDuplicates(),
        Clusters(),
        Neighbours(),
        Perplexity(),
        Perplexity("perplexity-start", START_TOKENS),
        GradientNeighbours(),
        GradientEntropy(),
        LossDrop(),
        AskedDetector(asker),
    )


def choose(names: Sequence[str], asker: Asker | None = None) -> tuple[Detector, ...]:
    """The detectors with these names or in these groups, each once, the cheapest first. Raises `UsageError`.

    The detector ``asked`` is never in the group ``cheap``: it may send rows over a network to somebody else. Raises
    `NotFoundError` for a name that is neither a detector's nor a group's.
    """
    known = detectors(asker)
    if unknown := set(names) - set(GROUPS) - {detector.name for detector in known}:
        listed = ", ".join((*GROUPS, *(detector.name for detector in known)))
        raise UsageError(f"there is no detector {ascii(min(unknown))[:40]}; there are {listed}")

    def wanted(detector: Detector) -> bool:
        group = "cheap" if detector.needs == "nothing" and detector.name != AskedDetector.name else "model"
        return detector.name in names or group in names or "all" in names

    return tuple(detector for detector in known if wanted(detector))
