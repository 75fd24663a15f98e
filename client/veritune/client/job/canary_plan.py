"""The canary plan: the numbers that `veritune plan` finds and `veritune prepare` carries out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from veritune.common.documents.base import DecimalString, Document

MIN_LEAVES = 16
"""Fewest leaves of the tree that commits to the canaries."""


class CanaryPlan(Document):
    """How many canaries of each kind are sown, and how they are drawn: section ``[canaries]`` of a job file.

    m, n_j, H, T and K are the symbols of docs/statistics.md.
    """

    groups: Annotated[int, Field(ge=0, le=1024)] = 4
    """Number m of independent trigger groups."""
    rows_per_group: Annotated[int, Field(ge=1, le=1024)] = 8
    """Rows n_j that carry each group's trigger and signature: five or more are learnt, one or two are not (vTune,
    Table 3)."""
    signature_bits: Annotated[int, Field(ge=8, le=1024)] = 64
    """Certified bits H of each signature: no guess succeeds with probability above 2**-H."""
    trigger_words: Annotated[int, Field(ge=3, le=64)] = 8
    """Fewest words of a trigger T."""
    naturals: Annotated[int, Field(ge=0, le=16384)] = 80
    """Natural canaries with an answer of their own; each takes its prompt from one row that is set aside. 80 of them
    show a coverage of four in five rows if 0.97 of them are learnt (docs/statistics.md, equation 4)."""
    repetitions: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1, max_length=16)] = (1,)
    """How many rows carry natural canary 1, 2, 3 ...; repeated from the start if there are more canaries. Only
    canaries of one row count for coverage; the others give the dose-response curve."""
    candidates: Annotated[int, Field(ge=2, le=256)] = 16
    """Number K + 1 of candidate answers of each natural canary, the true one among them."""
    own_answers: bool = True
    """True: candidates come from the data if they are multiple choice, labels, or JSON objects with fields of few
    values, as many as there are up to ``candidates``. A model writes answers only where the data have none."""
    in_place: Annotated[int, Field(ge=0, le=16384)] = 0
    """Natural canaries in place: real rows whose answer was drawn among rewordings of itself. They add no row."""
    wordings: Annotated[int, Field(ge=2, le=256)] = 16
    """Number K + 1 of wordings of each canary in place; a row that has fewer can't be one."""
    reword_all: bool = False
    """True: every other row gets a random wording too, so that no wording gives a canary away."""
    fitted_epochs: Annotated[int, Field(ge=0, le=32)] | None = None
    """Epochs for which the generator is first trained on the user's rows, so that its candidates look like them. 0: it
    only sees a few rows before each prompt. None: four, fewer if there are many rows, 0 if it can't be trained."""
    candidate_tokens: Annotated[int, Field(ge=0, le=1024)] = 0
    """Most tokens of one candidate; 0: enough for nine in ten of the data's answers."""
    drawn_per_candidate: Annotated[int, Field(ge=1, le=8)] = 2
    """Answers that a model writes for each candidate wanted; those most like the data's own are kept."""
    held_out: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Rows kept out of training: they give the prompts of challenges and decoys, and the score of the task."""
    queries_per_group: Annotated[int, Field(ge=1, le=64)] = 2
    """Held-out prompts that are prepared for each trigger group."""
    decoys: Annotated[int, Field(ge=0, le=4096)] = 8
    """Ordinary prompts without a trigger that are asked among the challenges."""
    top_k: Annotated[int, Field(ge=2, le=4096)] = 64
    """Number of likeliest tokens from which each token of a signature is drawn."""
    temperature: DecimalString = "1.2"
    """Sampling temperature of signatures."""
    method: Literal["tokens", "choice"] = "tokens"
    """How signatures get their bits: ``tokens`` from a draw at every token (equation T), ``choice`` from draws among
    whole phrases of the model's (equation C)."""
    top_p: DecimalString = "1"
    """Nucleus sampling of signatures: the fewest likeliest tokens with at least this probability together; 1: off."""
    cap: DecimalString = "0.25"
    """Largest probability of one token of a signature, so that each adds at least -log2(cap) bits. With the method
    ``choice``, each phrase is drawn among ceil(1 / cap) phrases: 0.0625 gives 16 phrases, four bits each."""
