"""The rewording rules by name.

Ways of a site must mean the same to every reader, programs included: numbers keep their value, JSON its values,
arithmetic its form. Where a rule can't be sure of that, a place is no site.
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
"""A function that finds the sites of a text whose protected spans are masked; None stands for a place with one way."""

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
"""Each rule by its name in a `Rewording`."""
