"""Digests of a request and of its output, each with the request's nonce, for inference receipts (SPEC section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from veritune.common.canonical import canonical_bytes, labelled_digest
from veritune.common.dataset import Message
from veritune.common.documents.base import Document

REQUEST_LABEL = "veritune/v1/inference-request"
OUTPUT_LABEL = "veritune/v1/inference-output"


class SamplingTerms(Document):
    """Sampling parameters of a Generate call; decimal strings, a temperature of 0 decodes greedily."""

    max_tokens: int = 128
    temperature: str = "0"
    top_p: str = "1"
    seed: int = 0


def generate_digest(job_id: str, messages: Sequence[Message], sampling: SamplingTerms, nonce: bytes) -> str:
    """SHA-256 (hexadecimal) of a Generate request with its nonce, labelled `REQUEST_LABEL`."""
    body = {
        "job_id": job_id,
        "kind": "generate",
        "messages": [message.model_dump(mode="json") for message in messages],
        "sampling": sampling.model_dump(mode="json"),
    }
    return labelled_digest(REQUEST_LABEL, canonical_bytes(body), nonce).hex()


def score_digest(job_id: str, messages: Sequence[Message], completions: Sequence[str], nonce: bytes) -> str:
    """SHA-256 (hexadecimal) of a Score request with its nonce, labelled `REQUEST_LABEL`."""
    body = {
        "completions": list(completions),
        "job_id": job_id,
        "kind": "score",
        "messages": [message.model_dump(mode="json") for message in messages],
    }
    return labelled_digest(REQUEST_LABEL, canonical_bytes(body), nonce).hex()


def text_output_digest(text: str, finish_reason: str, nonce: bytes) -> str:
    """SHA-256 (hexadecimal) of a Generate answer; the nonce keeps short answers from being guessed."""
    body = {"finish_reason": finish_reason, "text": text}
    return labelled_digest(OUTPUT_LABEL, canonical_bytes(body), nonce).hex()


def score_output_digest(totals: Sequence[str], nonce: bytes) -> str:
    """SHA-256 (hexadecimal) of a Score answer with its nonce; ``totals`` as sent, with six decimal places."""
    return labelled_digest(OUTPUT_LABEL, canonical_bytes({"totals": list(totals)}), nonce).hex()


def format_logprob(value: float) -> str:
    """A log-probability in nats as text with six places, as sent and as hashed; minus zero becomes zero."""
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text
