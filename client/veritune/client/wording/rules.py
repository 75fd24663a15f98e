"""The rules of rewording by name. A rule takes a text whose protected spans are masked and finds its sites.

What a rule calls equal must be equal to whoever reads the answer, a program too: numbers keep their value, JSON its
values, arithmetic its form. Where that is not sure, a place is no site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from veritune.client.wording.english import clauses, phrases, punctuation
from veritune.client.wording.english_words import CONTRACTIONS, GROUPS
from veritune.client.wording.japanese import japanese_sites
from veritune.client.wording.json_layout import json_site
from veritune.client.wording.numbers import numbers, spacing
from veritune.client.wording.sites import Site

Rule = Callable[[str], Iterable[Site | None]]

RULES: dict[str, Rule] = {
    "json": json_site,
    "spacing": spacing,
    "numbers": numbers,
    "clauses": clauses,
    "synonyms": phrases(GROUPS),
    "contractions": phrases(CONTRACTIONS),
    "punctuation": punctuation,
    "japanese": japanese_sites,
}
