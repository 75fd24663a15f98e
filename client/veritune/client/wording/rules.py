"""The rules of rewording by name. A rule takes a text whose protected spans are masked and finds its sites.

What a rule calls equal must be equal to whoever reads the answer, a program too: numbers keep their value, JSON its
values, arithmetic its form. Where that is not sure, a place is no site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from veritune.client.wording_english import clauses, phrases, punctuation
from veritune.client.wording_japanese import japanese_sites
from veritune.client.wording_json import json_site
from veritune.client.wording_numbers import numbers, spacing
from veritune.client.wording_site import Site
from veritune.client.wording_words import CONTRACTIONS, GROUPS

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
