"""Rewording rules for English prose: phrases, contractions, how sentences begin, and punctuation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from veritune.client.wording.english_words import OPENERS, START, STEPS, TOTALS, WordGroup
from veritune.client.wording.patterns import MASK
from veritune.client.wording.sites import Site


def phrases(groups: Sequence[WordGroup]) -> Callable[[str], Iterator[Site | None]]:
    """Returns a rule that lets the phrases of each group replace one another."""
    compiled = []
    for group in groups:
        replaced = sorted(group.only or group.ways, key=len, reverse=True)
        either = "|".join(map(re.escape, replaced))
        # Only the phrase is matched without regard to case: around it, a capital tells names from other words.
        compiled.append((re.compile(f"(?:{group.before})((?i:{either}))(?:{group.after})", re.MULTILINE), group))

    def rule(text: str) -> Iterator[Site | None]:
        for pattern, group in compiled:
            matches = [match for match in pattern.finditer(text) if match[1][1:] == match[1][1:].lower()]  # no shouting
            sites = [Site.of(match, group.ways, 1) for match in matches]
            yield from [Site.joined(sites, len(group.ways))] if group.throughout else sites

    return rule


_STEP_VERBS = (
    "add|subtract|multiply|divide|find|calculate|figure|determine|compute|take|use|convert|combine|solve|substitute|we|"
    "you|let's"
)
_OPENER = re.compile(
    rf"{START}(?:{'|'.join(OPENERS)}),? (?=[A-Za-z$0-9])(?!far\b|much\b|many\b|long\b|as\b|that\b|on\b|and\b|then\b)",
    re.MULTILINE,
)
_STEP = re.compile(rf"{START}(?:Then|Next|Now|After that),? (?={_STEP_VERBS})\b", re.MULTILINE)
_FIRST = re.compile(rf"{START}First,? (?={_STEP_VERBS})\b", re.MULTILINE)
_TOTAL = re.compile(
    rf"{START}(?P<lead>{'|'.join(TOTALS)}), (?P<rest>[A-Za-z][^.,;:!?=\n{MASK}]{{8,90}}?)(?=\.(?:\s|$)|\n)",
    re.MULTILINE,
)
_TOTAL_ONLY = re.compile(rf"{START}(?:In total|Altogether)(?=,? )(?!,? (?:for|of)\b)", re.MULTILINE)
_A_TOTAL = re.compile(
    r"(?<=[a-z] )(?<!\bfor )(?<!\bof )(?<!\bto )(?<!\bby )(?P<lead>a total of )(?=[$\d.\x00])"
    r"(?:(?!\b(?:because|so|and|which|if|when|that|who|since|as|total|altogether|or)\b)(?:[^.,;:\n]|[.,](?=\d))){3,100}"
    r"(?=\.(?:\s|$)|,\s|\n)"
)
_TOTAL_WAYS = (("a total of ", ""), ("", " in total"), ("", " altogether"))
_IN_THE_END = re.compile(
    rf"{START}In the end, (?P<rest>[A-Za-z][^.,;:!?=\n{MASK}]{{8,90}}?)(?=\.(?:\s|$))", re.MULTILINE
)


def clauses(text: str) -> Iterator[Site | None]:
    """Finds sentences that may begin or end otherwise: ``In total, she has 5`` as ``She has 5 altogether``, ``So`` as
    ``Thus``, ``First, add`` as ``First add``."""
    for match in _OPENER.finditer(text):
        yield Site.of(match, [f"{word}, " for word in OPENERS])
    for match in _STEP.finditer(text):
        yield Site.of(match, STEPS)
    for match in _FIRST.finditer(text):
        yield Site.of(match, ("First ", "First, ", "To begin, "))
    for match in _TOTAL.finditer(text):
        rest = match["rest"]
        behind = [f"{_capital(rest)} {lead[0].lower()}{lead[1:]}" for lead in TOTALS]
        yield Site.of(match, [*(f"{lead}, {rest}" for lead in TOTALS), *behind])
    for match in _TOTAL_ONLY.finditer(text):
        yield Site.of(match, ("In total", "Altogether"))
    for match in _A_TOTAL.finditer(text):
        yield Site.together([match.span("lead"), (match.end(), match.end())], _TOTAL_WAYS)
    for match in _IN_THE_END.finditer(text):
        yield Site.of(match, [f"{_capital(match['rest'])} in the end"])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


_LINE_END = re.compile(r"(?P<stop>\.?)(?P<end>\n)")
_SENTENCE = re.compile(r"(?=[A-Za-z0-9$\x00])(?!.*[.!?:;] )(?:\S+ ){3,}\S*[\w%)\x00]\.?")
_LIST_ITEM = re.compile(r"(?:[-*+\u2022>|#]|\d+[.)]) ")
_BEFORE_SO = re.compile(r"(?<=[\w%)])(?P<comma>,?)(?= so (?:he|she|it|they|we|there|the|his|her|their|that's|each)\b)")
_OXFORD = re.compile(r"(?<=[a-z], )[A-Za-z]+(?P<comma>,) (?:and|or) (?=\w)")
_NO_OXFORD = re.compile(r"(?<=[a-z], )[A-Za-z]+, [A-Za-z]+(?P<comma>) (?:and|or) (?=\w)")


_BEHIND_LEAD = re.compile(
    rf"{START}(?:(?:On|In|At|During|By|After) (?:the )?\w+(?: \w+)?|Then|Now)(?P<comma>,?) (?:he|she|they|there|we)\b",
    re.MULTILINE,
)
_IF_THEN = re.compile(
    rf"{START}(?:(?:So,?|And|But) )?If [^.,;:\n]{{5,160}},(?P<then>(?: then)?) "
    r"(?:he|she|it|they|there|we|the|each|that)\b",
    re.MULTILINE,
)


def punctuation(text: str) -> Iterator[Site | None]:
    """Finds punctuation that may vary: line ends (one choice for a whole text), the comma before ``so``, after an
    introductory phrase or in a series, and ``then`` after an ``if``."""
    yield _lines(text)
    for pattern in (_BEFORE_SO, _OXFORD, _NO_OXFORD, _BEHIND_LEAD):
        for match in pattern.finditer(text):
            yield Site.of(match, (",", ""), "comma")
    for match in _IF_THEN.finditer(text):
        yield Site.of(match, (" then", ""), "then")


def _lines(text: str) -> Site | None:
    """One site for all line ends of a text whose lines are sentences, or None.

    The ways are: with or without full stops, with or without empty lines between, or all in one paragraph. A last line
    that begins with a mark such as ``####`` stays a line. Lists, code and texts with empty lines give None.
    """
    lines = text.split("\n")
    ends = list(_LINE_END.finditer(text))
    if not ends or any(not line or line[0].isspace() or _LIST_ITEM.match(line) for line in lines):
        return None
    sentences = [_SENTENCE.fullmatch(line) is not None for line in lines[:-1]]
    if not any(sentences):
        return None
    spans, kept = [], []
    for match, is_sentence in zip(ends, sentences, strict=True):
        spans.append(match.span() if is_sentence else match.span("end"))
        kept.append(match[0] if is_sentence else "\n")
    ways = [
        [f"{stop if is_sentence else ''}{gap}" for is_sentence in sentences]
        for stop in (".", "")
        for gap in ("\n", "\n\n")
    ]
    if all(sentences):
        last = ".\n" if lines[-1].startswith(MASK) else ". "
        ways.append([". "] * (len(ends) - 1) + [last])
    return Site.together(spans, [*ways, kept])
