"""What an inference receipt covers: digests of a request with its nonce, and of an output (SPEC section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence

from veritune.common.canonical import canonical_bytes, labelled_digest
from veritune.common.dataset import Message
from veritune.common.documents.base import Document

REQUEST_LABEL = "veritune/v1/inference-request"
OUTPUT_LABEL = "veritune/v1/inference-output"


class SamplingTerms(Document):
    """How an answer is decoded; temperature and top_p are decimal strings."""

    max_tokens: int = 128
    temperature: str = "0"
    top_p: str = "1"
    seed: int = 0


def generate_digest(job_id: str, messages: Sequence[Message], sampling: SamplingTerms, nonce: bytes) -> str:
    """Digest of a Generate request, hexadecimal."""
    body = {
        "job_id": job_id,
        "kind": "generate",
        "messages": [message.model_dump(mode="json") for message in messages],
        "sampling": sampling.model_dump(mode="json"),
    }
    return labelled_digest(REQUEST_LABEL, canonical_bytes(body), nonce).hex()


def score_digest(job_id: str, messages: Sequence[Message], completions: Sequence[str], nonce: bytes) -> str:
    """Digest of a Score request, hexadecimal."""
    body = {
        "completions": list(completions),
        "job_id": job_id,
        "kind": "score",
        "messages": [message.model_dump(mode="json") for message in messages],
    }
    return labelled_digest(REQUEST_LABEL, canonical_bytes(body), nonce).hex()


def text_output_digest(text: str, finish_reason: str, nonce: bytes) -> str:
    """Digest of a Generate answer; the nonce keeps short answers from being guessed."""
    body = {"finish_reason": finish_reason, "text": text}
    return labelled_digest(OUTPUT_LABEL, canonical_bytes(body), nonce).hex()


def score_output_digest(totals: Sequence[str], nonce: bytes) -> str:
    """Digest of a Score answer: the totals as sent, six decimal places."""
    return labelled_digest(OUTPUT_LABEL, canonical_bytes({"totals": list(totals)}), nonce).hex()


def format_logprob(value: float) -> str:
    """A log-probability in nats with six places, as sent and as hashed; minus zero is zero."""
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text
