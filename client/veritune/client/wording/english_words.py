"""English phrases that may replace one another, each with the context in which the meaning stays.

A phrase with several meanings is tied to a context where it has one: *since* is a reason where a clause follows,
*needs to* an obligation in a main clause (the money she *needs to* buy it is not what she *has to*).
"""

from __future__ import annotations

from typing import NamedTuple


class WordGroup(NamedTuple):
    """Phrases with one meaning: ``ways`` may replace one another between matches of ``before`` and ``after``."""

    ways: tuple[str, ...]
    only: tuple[str, ...] = ()
    """The ways that may be replaced; empty: all of them. A *day off*, for example, is not *per day off*."""
    before: str = r"(?<![\w'\u2019-])"
    after: str = r"(?![\w'\u2019-])"
    throughout: bool = False
    """True if one choice counts for a whole text: names of things, which a writer does not vary."""


START = r"(?:^|(?<=[.!?] ))"
"""A pattern for the place where a sentence begins; needs ``re.MULTILINE``."""
_END = r"(?=[.,;](?:\s|$)|\n|\Z)"
_MAIN = (
    rf"(?:{START}(?:(?:So|Thus|Therefore|Hence|Then|Now|And|But),? )?|, |; |\b(?:so|then|thus) )"
    r"(?:he|she|it|they|we|you|I|[A-Z][a-z]+) (?:also |will )?"
)
_SUBJECT = r"(?:^|(?<=[ ,]))(?:he|she|they|we|who|He|She|They|We|I) "
_CLAUSE = r"(?= (?:he|she|it|they|there|we|the|each|every) )"
_PERIODIC = r"(?<![\w.,])\$?\d[\d,.]*(?: [a-z]+s)? "
_RESULT = r"(?:\x00|= ?)\$?\d[\d,.]* (?:(?!and|then|he\b|she\b|they\b|who|it\b)[a-z]+ )?"
_DATES = (
    r"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|January|February|March|April|May|June|July|August|"
    "September|October|November|December|Christmas|Easter"
)
_QUANTITY = (
    r"(?= (?:the (?:total|number|cost|amount|time|price|average|difference|sum|distance|value|area|perimeter|volume|"
    r"weight|length|age|profit|percentage|discount|combined|final|original)|how (?:many|much|long|far|old|fast))\b)"
)
_FINDING = rf"(?:{START}(?:(?:First|Then|Next|Now|Finally|After that),? )?|\b(?:to|can|then|and|must|should) )"

GROUPS: tuple[WordGroup, ...] = (
    WordGroup(("needs to", "has to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    WordGroup(("need to", "have to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    WordGroup(("needed to", "had to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    WordGroup(("find", "calculate", "compute", "determine", "work out"), before=_FINDING, after=_QUANTITY),
    WordGroup(("find out", "figure out"), only=("find out", "figure out"), before=_FINDING, after=_QUANTITY),
    WordGroup(
        ("since", "because", "as"),
        only=("since", "because"),
        before=START,
        after=rf"(?= (?:(?:he|she|it|they|there|we|the|each|every|an?|all|one|his|her|their|only|both) "
        rf"|\d|(?!{_DATES})[A-Z]))",
    ),
    WordGroup(("because", "since"), only=("because",), before=r"(?<=[\w%),.] )", after=r"(?= )(?! of\b)"),
    WordGroup(("this means", "that means", "this means that", "that means that"), before=START, after=_CLAUSE),
    WordGroup(("this means", "that means"), before=START, after=r"(?= (?:[A-Z]|\d|\$|that ))"),
    WordGroup(("which means", "meaning", "which means that"), before=r"(?<=\w, )", after=_CLAUSE),
    WordGroup(("which means", "meaning"), before=r"(?<=\w, )", after=r"(?= (?:[A-Z]|that ))"),
    WordGroup(("in total", "altogether", "in all"), before=r"(?<=[\w>%\x00] )", after=_END),
    WordGroup(("together,", "combined,"), before=START, after=r"(?= )"),
    WordGroup(("finally,", "lastly,"), before=START, after=r"(?= )"),
    WordGroup(
        ("for a total of", "making a total of", "giving a total of"), only=("for a total of",), before=r"(?<=\w, )"
    ),
    WordGroup(
        ("total", "overall"),
        before=r"\b[Tt]he ",
        after=r"(?= (?:cost|number|amount|time|distance|price|weight|profit|length|area)\b)",
    ),
    WordGroup(("per day", "a day", "each day", "every day"), before=_PERIODIC, after=r"(?!\w)"),
    WordGroup(("per week", "a week", "each week", "every week"), before=_PERIODIC, after=r"(?!\w)"),
    WordGroup(("per month", "a month", "each month", "every month"), before=_PERIODIC, after=r"(?!\w)"),
    WordGroup(("per year", "a year", "each year", "every year"), before=_PERIODIC, after=r"(?!\w)"),
    WordGroup(("per hour", "an hour"), before=_PERIODIC, after=r"(?!\w)"),
    WordGroup(("per minute", "a minute"), before=_PERIODIC, after=r"(?!\w)"),
    *(
        WordGroup((f"in a {unit}", f"in one {unit}"), after=r"(?= (?!or\b)|[.,;]|\n|\Z)")
        for unit in ("day", "week", "month", "year")
    ),
    WordGroup(("every day", "each day")),
    WordGroup(("every week", "each week")),
    WordGroup(("every month", "each month")),
    WordGroup(("every year", "each year")),
    WordGroup(("each", "apiece"), before=r"(?:\$\d[\d,.]*|\d (?:dollars|cents)) ", after=_END),
    WordGroup(("left", "remaining"), before=_RESULT, after=_END),
    WordGroup(("equals", "is equal to"), before=r"(?<=\w )", after=r"(?= [\w$])"),
    WordGroup(("twice as", "two times as")),
    WordGroup(
        ("twice the", "double the", "two times the"),
        after=r"(?= (?:number|amount|cost|price|age|length|distance|size)\b)",
    ),
    WordGroup(("half of the", "half the")),
    WordGroup(("half of his", "half his")),
    WordGroup(("half of her", "half her")),
    WordGroup(("half of their", "half their")),
    WordGroup(("all of the", "all the"), only=("all of the",)),
    WordGroup(("bought", "purchased")),
    WordGroup(("to buy", "to purchase")),
    WordGroup(("buys", "purchases"), only=("buys",)),
    WordGroup(("buying", "purchasing"), after=r"(?= (?:a|an|the|his|her|their|\d+|two|three|four|five) )"),
    WordGroup(("received", "got"), only=("received",), before=_SUBJECT, after=r"(?= (?:\$|\d|an? |the |another ))"),
    WordGroup(("receives", "gets"), only=("receives",), after=r"(?= (?:\$|\d|an? |the |another ))"),
    WordGroup(("earns", "makes"), only=("earns",), after=r"(?= (?:a total of )?\$)"),
    WordGroup(("earned", "made"), only=("earned",), before=_SUBJECT, after=r"(?= (?:a total of )?\$)"),
    WordGroup(("began", "started"), only=("began",)),
    WordGroup(("begins", "starts"), only=("begins",)),
    WordGroup(("kids", "children"), throughout=True),
    WordGroup(("multiplied by", "times"), only=("multiplied by",), before=r"(?<=\d )"),
    WordGroup(("is able to", "can"), only=("is able to",)),
    WordGroup(("are able to", "can"), only=("are able to",)),
    WordGroup(("in order to", "to"), only=("in order to",)),
    WordGroup(("although", "though"), only=("although",)),
    WordGroup(("approximately", "roughly", "about"), only=("approximately", "roughly")),
    WordGroup(("for example", "for instance")),
    WordGroup(("such as", "like"), only=("such as",)),
    WordGroup(("in addition,", "additionally,"), before=START, after=r"(?= )"),
    WordGroup(("a lot of", "lots of"), only=("a lot of",), before=r"(?<![\w'\u2019-])(?<!quite )(?<!such )(?<!what )"),
    WordGroup(("make sure that", "ensure that")),
    WordGroup(("nearly", "almost")),
    WordGroup(("everyone", "everybody")),
    WordGroup(("someone", "somebody")),
)

NEGATIONS: tuple[WordGroup, ...] = tuple(
    WordGroup((long, short), before=r"(?<![\w'\u2019-])(?<!\bor )")
    for long, short in (
        ("does not", "doesn't"),
        ("do not", "don't"),
        ("did not", "didn't"),
        ("is not", "isn't"),
        ("are not", "aren't"),
        ("was not", "wasn't"),
        ("were not", "weren't"),
        ("has not", "hasn't"),
        ("have not", "haven't"),
        ("had not", "hadn't"),
        ("will not", "won't"),
        ("would not", "wouldn't"),
        ("could not", "couldn't"),
        ("should not", "shouldn't"),
        ("cannot", "can't"),
    )
)

_FOLLOWED = r"(?= (?:\w|\$))(?! (?:own|been|not)\b)"
CONTRACTIONS: tuple[WordGroup, ...] = (
    *NEGATIONS,
    *(
        WordGroup((long, short), only=only, before=before, after=_FOLLOWED)
        for long, short in (
            ("it is", "it's"),
            ("that is", "that's"),
            ("there is", "there's"),
            ("they are", "they're"),
            ("we are", "we're"),
            ("you are", "you're"),
            ("he will", "he'll"),
            ("she will", "she'll"),
            ("they will", "they'll"),
            ("we will", "we'll"),
            ("it will", "it'll"),
        )
        # The long form fits anywhere; the short one does not fit at the end of a clause (*as big as they're*). At the
        # beginning of a sentence both fit.
        for only, before in (((), START), ((short,), r"(?<=[a-z,] )"))
    ),
)
"""Contractions and their long forms. ``it's`` that means *it has* is left alone: *been* follows it."""

OPENERS = ("So", "Thus", "Therefore", "Hence")
"""Words that begin a sentence which follows from the one before."""

STEPS = ("Then ", "Next, ", "Now ", "After that, ")
"""Beginnings of a further step of instructions."""

TOTALS = ("In total", "In all", "Altogether")
"""Phrases that may begin a sentence or end it."""
