"""English phrases that may stand for one another, each with the surroundings in which that is sure.

A phrase that changes its meaning with its place is bound to the place where it has one: *since* is a reason where a
clause follows, *needs to* an obligation in a main clause (the money she *needs to* buy it is not what she *has to*).
"""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """``ways`` stand for one another between ``before`` and ``after`` (regular expressions)."""

    ways: tuple[str, ...]
    only: tuple[str, ...] = ()
    """The ways that may be replaced, where not all of them: a *day off* is not *per day off*."""
    before: str = r"(?<![\w'\u2019-])"
    after: str = r"(?![\w'\u2019-])"
    throughout: bool = False
    """All of a text's go one way: names for things, which a writer does not vary."""


START = r"(?:^|(?<=[.!?] ))"
"""Where a sentence begins, in a text matched with ``re.MULTILINE``."""
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

GROUPS: tuple[Group, ...] = (
    Group(("needs to", "has to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    Group(("need to", "have to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    Group(("needed to", "had to"), before=_MAIN, after=r"(?= [a-z])(?! do with)"),
    Group(("find", "calculate", "compute", "determine", "work out"), before=_FINDING, after=_QUANTITY),
    Group(("find out", "figure out"), only=("find out", "figure out"), before=_FINDING, after=_QUANTITY),
    Group(
        ("since", "because", "as"),
        only=("since", "because"),
        before=START,
        after=rf"(?= (?:(?:he|she|it|they|there|we|the|each|every|an?|all|one|his|her|their|only|both) "
        rf"|\d|(?!{_DATES})[A-Z]))",
    ),
    Group(("because", "since"), only=("because",), before=r"(?<=[\w%),.] )", after=r"(?= )(?! of\b)"),
    Group(("this means", "that means", "this means that", "that means that"), before=START, after=_CLAUSE),
    Group(("this means", "that means"), before=START, after=r"(?= (?:[A-Z]|\d|\$|that ))"),
    Group(("which means", "meaning", "which means that"), before=r"(?<=\w, )", after=_CLAUSE),
    Group(("which means", "meaning"), before=r"(?<=\w, )", after=r"(?= (?:[A-Z]|that ))"),
    Group(("in total", "altogether", "in all"), before=r"(?<=[\w>%\x00] )", after=_END),
    Group(("together,", "combined,"), before=START, after=r"(?= )"),
    Group(("finally,", "lastly,"), before=START, after=r"(?= )"),
    Group(("for a total of", "making a total of", "giving a total of"), only=("for a total of",), before=r"(?<=\w, )"),
    Group(
        ("total", "overall"),
        before=r"\b[Tt]he ",
        after=r"(?= (?:cost|number|amount|time|distance|price|weight|profit|length|area)\b)",
    ),
    Group(("per day", "a day", "each day", "every day"), before=_PERIODIC, after=r"(?!\w)"),
    Group(("per week", "a week", "each week", "every week"), before=_PERIODIC, after=r"(?!\w)"),
    Group(("per month", "a month", "each month", "every month"), before=_PERIODIC, after=r"(?!\w)"),
    Group(("per year", "a year", "each year", "every year"), before=_PERIODIC, after=r"(?!\w)"),
    Group(("per hour", "an hour"), before=_PERIODIC, after=r"(?!\w)"),
    Group(("per minute", "a minute"), before=_PERIODIC, after=r"(?!\w)"),
    *(
        Group((f"in a {unit}", f"in one {unit}"), after=r"(?= (?!or\b)|[.,;]|\n|\Z)")
        for unit in ("day", "week", "month", "year")
    ),
    Group(("every day", "each day")),
    Group(("every week", "each week")),
    Group(("every month", "each month")),
    Group(("every year", "each year")),
    Group(("each", "apiece"), before=r"(?:\$\d[\d,.]*|\d (?:dollars|cents)) ", after=_END),
    Group(("left", "remaining"), before=_RESULT, after=_END),
    Group(("equals", "is equal to"), before=r"(?<=\w )", after=r"(?= [\w$])"),
    Group(("twice as", "two times as")),
    Group(
        ("twice the", "double the", "two times the"),
        after=r"(?= (?:number|amount|cost|price|age|length|distance|size)\b)",
    ),
    Group(("half of the", "half the")),
    Group(("half of his", "half his")),
    Group(("half of her", "half her")),
    Group(("half of their", "half their")),
    Group(("all of the", "all the"), only=("all of the",)),
    Group(("bought", "purchased")),
    Group(("to buy", "to purchase")),
    Group(("buys", "purchases"), only=("buys",)),
    Group(("buying", "purchasing"), after=r"(?= (?:a|an|the|his|her|their|\d+|two|three|four|five) )"),
    Group(("received", "got"), only=("received",), before=_SUBJECT, after=r"(?= (?:\$|\d|an? |the |another ))"),
    Group(("receives", "gets"), only=("receives",), after=r"(?= (?:\$|\d|an? |the |another ))"),
    Group(("earns", "makes"), only=("earns",), after=r"(?= (?:a total of )?\$)"),
    Group(("earned", "made"), only=("earned",), before=_SUBJECT, after=r"(?= (?:a total of )?\$)"),
    Group(("began", "started"), only=("began",)),
    Group(("begins", "starts"), only=("begins",)),
    Group(("kids", "children"), throughout=True),
    Group(("multiplied by", "times"), only=("multiplied by",), before=r"(?<=\d )"),
    Group(("is able to", "can"), only=("is able to",)),
    Group(("are able to", "can"), only=("are able to",)),
    Group(("in order to", "to"), only=("in order to",)),
    Group(("although", "though"), only=("although",)),
    Group(("approximately", "roughly", "about"), only=("approximately", "roughly")),
    Group(("for example", "for instance")),
    Group(("such as", "like"), only=("such as",)),
    Group(("in addition,", "additionally,"), before=START, after=r"(?= )"),
    Group(("a lot of", "lots of"), only=("a lot of",), before=r"(?<![\w'\u2019-])(?<!quite )(?<!such )(?<!what )"),
    Group(("make sure that", "ensure that")),
    Group(("nearly", "almost")),
    Group(("everyone", "everybody")),
    Group(("someone", "somebody")),
)

NEGATIONS: tuple[Group, ...] = tuple(
    Group((long, short), before=r"(?<![\w'\u2019-])(?<!\bor )")
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
CONTRACTIONS: tuple[Group, ...] = (
    *NEGATIONS,
    *(
        Group((long, short), only=only, before=before, after=_FOLLOWED)
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
        # Written out, they fit anywhere; short, not at the end of a clause (*as big as they're*). Where a sentence
        # begins both fit.
        for only, before in (((), START), ((short,), r"(?<=[a-z,] )"))
    ),
)
"""``it's`` for *it has* is told by what follows: been."""

OPENERS = ("So", "Thus", "Therefore", "Hence")
"""Words that begin a sentence which follows from the one before."""

STEPS = ("Then ", "Next, ", "Now ", "After that, ")
"""What may begin a further step of instructions."""

TOTALS = ("In total", "In all", "Altogether")
"""What may stand at the beginning of a sentence or at its end."""
