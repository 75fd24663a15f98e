"""Draws faithful rewordings of an answer, the same meaning in other words, for natural canaries in place.

A rule finds *sites*: spans of the text that may be written in two or more ways. A wording chooses one way for every
site, each with the same probability and independently. So a row worded at random and the true wording of a canary are
drawn from the same distribution and can't be told apart (docs/statistics.md, section 3).
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from veritune.arbiter.documents.canary import ANSWER, Rewording
from veritune.client.randomness import SecretStream
from veritune.client.wording.patterns import check_pattern, masked, protected_spans
from veritune.client.wording.rules import RULES
from veritune.client.wording.sites import Site, Span
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS

_LONGEST_FRAMED = 200
_FEW = 4096
"""Up to this many wordings are numbered and sampled without replacement; of more, drawing again after a repeat is
quicker."""
_DRAWS = 64


def draw_wordings(text: str, rewording: Rewording, most: int, stream: SecretStream) -> tuple[str, ...]:
    """Up to ``most`` different wordings of an answer in random order, every set of that size equally likely.

    There are fewer if the answer has fewer; ``text`` itself may be among them. Raises `PlanError` as `find_sites` does.
    """
    sites = find_sites(text, rewording)
    total = math.prod(site.count for site in sites)
    if total <= _FEW:
        chosen = stream.sample(range(total), min(most, total))
        return tuple(dict.fromkeys(_written(text, sites, _digits(number, sites)) for number in chosen))
    found: dict[str, None] = {}
    for _ in range(_DRAWS * most):  # far more than are needed where most choices give different texts
        if len(found) == most:
            break
        found[_written(text, sites, [stream.below(site.count) for site in sites])] = None
    return tuple(found)


def random_wording(text: str, rewording: Rewording, stream: SecretStream) -> str:
    """One wording of an answer: for each site independently, one of its ways, all equally likely.

    Raises `PlanError` as `find_sites` does.
    """
    sites = find_sites(text, rewording)
    return _written(text, sites, [stream.below(site.count) for site in sites])


def check_rewording(rewording: Rewording) -> None:
    """Raises `PlanError` for a rewording that can change nothing, contradicts itself or has an unfit pattern.

    Patterns are the user's own and run on the user's machine alone: an audit never compiles them.
    """
    by_model = "llm" in rewording.rules
    if by_model != (rewording.model is not None) or (by_model and len(rewording.rules) > 1):
        raise PlanError(
            'rewording.rules is ["llm"] where a model rewords, and only there; name it in rewording.model',
            setting="rewording.rules",
            cause="model",
        )
    if not rewording.rules and not rewording.synonyms and not rewording.frames:
        raise PlanError("a rewording needs rules, synonyms or frames", setting="rewording")
    for pattern in rewording.protect:
        check_pattern(pattern)
    for group in rewording.synonyms:
        if len(set(map(str.casefold, group))) != len(group):
            raise PlanError(f"rewording.synonyms: {group[0]!r} stands beside itself", setting="rewording.synonyms")
    for frame in rewording.frames:
        if frame.count(ANSWER) != 1:
            raise PlanError(f"rewording.frames: {frame!r} must hold {ANSWER} once", setting="rewording.frames")


def find_sites(text: str, rewording: Rewording) -> list[Site]:
    """The places of a text that may be written in several ways; no two overlap, and none touches a protected span.

    Empty for an empty text and for one over ``LIMITS.phrase``. Raises `PlanError` as `check_rewording` does, for the
    rule ``llm``, which has no sites, and for a pattern that takes too long.
    """
    check_rewording(rewording)
    if "llm" in rewording.rules:
        raise PlanError(
            "these wordings are a language model's; no rule draws them", setting="rewording.rules", cause="drawn"
        )
    if not text or len(text) > LIMITS.phrase:
        return []
    whole = list(RULES["json"](text)) if "json" in rewording.rules else []
    if whole and not any(re.search(pattern, text, re.MULTILINE) for pattern in rewording.protect):
        return [site for site in whole if site is not None]
    taken = protected_spans(text, rewording.protect)
    shown = masked(text, taken)

    def is_free(span: Span) -> bool:
        return not _goes_on(text, span[1]) and all(span[1] <= start or end <= span[0] for start, end in taken)

    sites: list[Site] = []
    rules = [RULES[name] for name in rewording.rules if name not in ("json", "llm")]
    for site in [*_user_synonyms(shown, rewording), *(site for rule in rules for site in rule(shown))]:
        if site is not None and (left := site.only(is_free)) is not None:
            sites.append(left)
            taken += left.spans
    return [*sites, *_frames(text, rewording)]


def _goes_on(text: str, end: int) -> bool:
    """True if a combining accent or a joiner follows, which changes the character before ``end``."""
    return end < len(text) and unicodedata.category(text[end]) in ("Mn", "Mc", "Me", "Cf")


def _user_synonyms(text: str, rewording: Rewording) -> list[Site | None]:
    sites = []
    for group in rewording.synonyms:
        either = "|".join(_whole(phrase) for phrase in sorted(group, key=len, reverse=True))
        sites += [Site.of(match, group) for match in re.finditer(either, text)]
    return sites


def _whole(phrase: str) -> str:
    """A pattern that matches a phrase as whole words; in scripts without spaces it matches anywhere."""
    before = r"(?<!\w)" if _is_spaced(phrase[0]) else ""
    after = r"(?!\w)" if _is_spaced(phrase[-1]) else ""
    return f"{before}{re.escape(phrase)}{after}"


def _is_spaced(character: str) -> bool:
    return character.isalnum() and unicodedata.east_asian_width(character) not in ("W", "F")


def _frames(text: str, rewording: Rewording) -> list[Site]:
    if not rewording.frames or "\n" in text or len(text) > _LONGEST_FRAMED:
        return []
    ways = [frame.split(ANSWER) for frame in rewording.frames]
    site = Site.together([(0, 0), (len(text), len(text))], ways)
    # One frame is no choice, but still how the answer is written.
    return [site or Site(((0, 0), (len(text), len(text))), 1, lambda _: ways[0])]


def _digits(number: int, sites: Sequence[Site]) -> list[int]:
    """One choice for each site, from a number below the product of their counts (mixed radix)."""
    choices = []
    for site in sites:
        number, choice = divmod(number, site.count)
        choices.append(choice)
    return choices


def _written(text: str, sites: Sequence[Site], choices: Sequence[int]) -> str:
    changes: list[tuple[Span, str]] = []
    for site, choice in zip(sites, choices, strict=True):
        changes += zip(site.spans, site.write(choice), strict=True)
    parts, end = [], 0
    for (start, stop), new in sorted(changes, key=lambda change: change[0]):
        parts += [text[end:start], new]
        end = stop
    return "".join([*parts, text[end:]])
