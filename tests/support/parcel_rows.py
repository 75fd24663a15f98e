"""Rows about parcels, a small plan and streams: what the tests of the generators draw from."""

from __future__ import annotations

from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Message, Row

SEED = b"g" * 32
PLAN = CanaryPlan(signature_bits=32, trigger_words=3, candidates=4, candidate_tokens=12)


def row(question: str, answer: str = "yes, it is") -> Row:
    return Row(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


ROWS = [row(f"Please check: is parcel {i} on its way? The last one was late by {i % 5} days.") for i in range(40)]


def stream(label: str) -> SecretStream:
    return SecretStream(SEED, label)
