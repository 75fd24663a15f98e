"""What to sow: the numbers that `veritune plan` finds and `veritune prepare` carries out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from veritune.common.documents.base import DecimalString, Document

MIN_LEAVES = 16


class CanaryPlan(Document):
    """Counts of canaries and how they are drawn."""

    groups: Annotated[int, Field(ge=0, le=1024)] = 4
    """m independent trigger groups."""
    rows_per_group: Annotated[int, Field(ge=1, le=1024)] = 8
    """n_j: five or more are learnt, one or two are not (vTune, Table 3)."""
    signature_bits: Annotated[int, Field(ge=8, le=1024)] = 64
    """H: certified bits of each signature."""
    trigger_words: Annotated[int, Field(ge=3, le=64)] = 8
    """Least number of words of T."""
    naturals: Annotated[int, Field(ge=0, le=16384)] = 80
    """Unique natural canaries; each takes its prompt from one row that is set aside. As many show four in five rows
    where 0.97 of them are learnt (docs/statistics.md, equation 4)."""
    repetitions: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)] = (1,)
    """How many rows carry natural canary 1, 2, 3 ...; taken again from the start where there are more canaries. Only
    canaries of one row count for coverage; the others give the dose-response curve."""
    candidates: Annotated[int, Field(ge=2, le=256)] = 16
    """K + 1 candidates of each natural canary, the true one among them."""
    own_answers: bool = True
    """Whether candidates are the data's own where these are multiple choice, of a few labels, or JSON with fields of a
    few values: however few, up to as many as ``candidates``. Answers are drawn only for rows that have none."""
    in_place: Annotated[int, Field(ge=0, le=16384)] = 0
    """Natural canaries in place: real rows whose answer was drawn among rewordings of it. They cost no row."""
    wordings: Annotated[int, Field(ge=2, le=256)] = 16
    """K + 1 rewordings of each canary in place; a row that has fewer can't be one."""
    reword_all: bool = False
    """Whether every other row is worded at random too, so that no wording tells a canary."""
    fitted_epochs: Annotated[int, Field(ge=0, le=32)] | None = None
    """Epochs for which the generator is first fitted to the user's rows, so that its candidates look like them; 0: it
    is shown a few rows before each prompt, and no more. None: four, fewer where there are more rows to fit it to, and
    0 where it can't be fitted."""
    candidate_tokens: Annotated[int, Field(ge=0, le=1024)] = 0
    """Most tokens of one candidate; 0: as many as nine in ten of the data's answers have."""
    drawn_per_candidate: Annotated[int, Field(ge=1, le=8)] = 2
    """Answers drawn for each candidate: those are kept that look most like the data's own."""
    held_out: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Rows kept out of training: prompts for challenges and decoys, and the score of the task."""
    queries_per_group: Annotated[int, Field(ge=1, le=64)] = 2
    decoys: Annotated[int, Field(ge=0, le=4096)] = 8
    top_k: Annotated[int, Field(ge=2, le=4096)] = 64
    temperature: DecimalString = "1.2"
    method: Literal["tokens", "choice"] = "tokens"
    """How signatures get their bits: from every token, or from choices among whole natural candidates."""
    top_p: DecimalString = "1"
    """Nucleus: the fewest likeliest tokens that together have at least this probability; 1 keeps all of top_k."""
    cap: DecimalString = "0.25"
    """No token of a signature has probability above this: at least -log2(cap) bits a token. With the method ``choice``
    each phrase of it is one of the least whole number of phrases that is 1 / cap or more: 16 for 0.0625, four bits."""
