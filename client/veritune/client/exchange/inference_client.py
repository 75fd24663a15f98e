"""Calls Generate and Score of the provider's endpoint, and checks each receipt before its answer is returned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import grpc

from veritune.client.exchange.channel import Channel, to_error
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.common.dataset import Message
from veritune.common.documents.receipts import InferenceReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    DigestError,
    MalformedRequestError,
    TooLargeError,
    TruncatedError,
    UnavailableError,
)
from veritune.common.inference import (
    SamplingTerms,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.keys import PublicKey
from veritune.common.signing import open_document
from veritune.common.wire import envelope_from_wire, messages_to_wire
from veritune.v1 import inference_service_pb2 as pb

ANSWER_TIMEOUT = 600.0
"""Seconds for one answer, the wait for a busy accelerator included."""
ANSWER_CHARACTERS = 65_536
"""Longest answer that is accepted, in characters."""
_LOGPROB = re.compile(r"0\.000000|-(0|[1-9][0-9]{0,9})\.[0-9]{6}")


@dataclass(frozen=True)
class ServedAnswer:
    """A generated text, why it ended, and its signed receipt with the receipt's number."""

    text: str
    finish_reason: Literal["stop", "length"]
    sequence: int
    receipt: Envelope


@dataclass(frozen=True)
class ServedScores:
    """The log-probability (nats, six decimal places) of each completion, and the signed receipt with its number."""

    totals: tuple[str, ...]
    sequence: int
    receipt: Envelope


class InferenceClient:
    """A client of the provider's InferenceService for the adapter of one job. Safe for several threads at once.

    ``numbers`` holds the numbers of the receipts that an earlier process got; by default there are none.
    """

    def __init__(
        self,
        channel: Channel,
        provider: PublicKey,
        manifest_digest: str,
        training_receipt_digest: str,
        job_id: str,
        numbers: ReceiptNumbers | None = None,
    ) -> None:
        self._channel, self._provider = channel, provider
        self._manifest_digest, self._training_digest = manifest_digest, training_receipt_digest
        self._job_id, self._numbers = job_id, ReceiptNumbers() if numbers is None else numbers

    def generate(self, chat: Sequence[Message], sampling: SamplingTerms, nonce: bytes) -> ServedAnswer:
        """The endpoint's answer to a chat, with the receipt whose signature, digests and number were checked.

        Raises:
            SignatureError: the receipt is not signed by the provider.
            DigestError: the receipt is of another contract, adapter, request or answer.
            OutOfOrderError: the receipt's number came twice, or numbers before it are left out.
            MalformedDocumentError, MalformedRequestError: the receipt or the answer has another form than it must.
            TooLargeError: the answer is over `ANSWER_CHARACTERS` characters.
            TruncatedError: the answer broke off, or ended without a receipt.
            UnavailableError: the provider can't be reached; other errors of the protocol are those it answers.
        """
        request = pb.GenerateRequest(
            manifest_digest=self._manifest_digest,
            job_id=self._job_id,
            messages=messages_to_wire(chat),
            sampling=pb.Sampling(
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=sampling.seed,
            ),
            nonce=nonce,
        )
        with self._numbers.under_way():
            text, result = self._channel.call(lambda: self._stream(request))
            finish: Literal["stop", "length"] = "length" if result.finish_reason == "length" else "stop"
            if result.finish_reason != finish:
                raise MalformedRequestError("the provider's answer ended for no known reason")
            receipt = envelope_from_wire(result.receipt)
            sequence = self._check(
                receipt,
                "generate",
                generate_digest(self._job_id, chat, sampling, nonce),
                text_output_digest(text, finish, nonce),
            )
        return ServedAnswer(text, finish, sequence, receipt)

    def score(self, chat: Sequence[Message], completions: Sequence[str], nonce: bytes) -> ServedScores:
        """The log-probability of each completion as the answer to a chat, with its checked receipt.

        Raises as `generate` does, and `MalformedRequestError` for anything but one log-probability a completion.
        """
        request = pb.ScoreRequest(
            manifest_digest=self._manifest_digest,
            job_id=self._job_id,
            messages=messages_to_wire(chat),
            completions=completions,
            nonce=nonce,
        )
        with self._numbers.under_way():
            answer: pb.ScoreResponse = self._channel.call(
                lambda: self._channel.inference.Score(request, timeout=ANSWER_TIMEOUT, metadata=self._metadata())
            )
            totals = tuple(item.total for item in answer.scores)
            if len(totals) != len(completions) or not all(_LOGPROB.fullmatch(total) for total in totals):
                raise MalformedRequestError("the provider's scores are no log-probabilities, one for each completion")
            receipt = envelope_from_wire(answer.receipt)
            sequence = self._check(
                receipt,
                "score",
                score_digest(self._job_id, chat, completions, nonce),
                score_output_digest(totals, nonce),
            )
        return ServedScores(totals, sequence, receipt)

    def require_whole(self) -> None:
        """Raises `OutOfOrderError` if the receipts' numbers have a gap. Must be called while no call is under way."""
        self._numbers.require_whole()

    def _stream(self, request: pb.GenerateRequest) -> tuple[str, pb.GenerateResult]:
        pieces: list[str] = []
        length = 0
        call = self._channel.inference.Generate(request, timeout=ANSWER_TIMEOUT, metadata=self._metadata())
        try:
            for message in call:
                if message.WhichOneof("part") == "result":
                    return "".join(pieces), message.result
                length += len(message.delta)
                if length > ANSWER_CHARACTERS or len(pieces) > ANSWER_CHARACTERS:
                    raise TooLargeError(f"the provider's answer is over {ANSWER_CHARACTERS} characters")
                pieces.append(message.delta)
        except grpc.RpcError as error:
            failure = to_error(error)
            if pieces and isinstance(failure, UnavailableError):
                raise TruncatedError("the provider's answer broke off; run the challenge again to go on") from error
            raise
        finally:
            call.cancel()
        raise TruncatedError("the provider's answer ended without a receipt")

    def _check(self, envelope: Envelope, kind: Literal["generate", "score"], request: str, output: str) -> int:
        receipt = open_document(InferenceReceipt, envelope, self._provider).document
        if receipt.manifest_digest != self._manifest_digest or receipt.training_receipt_digest != self._training_digest:
            raise DigestError("the inference receipt belongs to another contract or adapter")
        if receipt.kind != kind or receipt.request_digest != request:
            raise DigestError("the inference receipt belongs to another request")
        if receipt.output_digest != output:
            raise DigestError("the inference receipt covers another answer than the one that was sent")
        self._numbers.take(receipt.sequence)
        return receipt.sequence

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return self._channel.metadata(self._manifest_digest)
