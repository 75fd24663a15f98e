"""Answers chats under a contract, each answer with a signed receipt, whatever protocol the request came by.

An answer is stored or computed: the same request with the same nonce again gets the stored answer, so that a connection
that breaks leaves no gap in the receipts that the client holds. A computed answer is numbered, signed and stored in one
transaction, and its receipt is sent only then. A call that ends before its answer is complete leaves no receipt and
takes no number.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from veritune.common.dataset import Message
from veritune.common.documents.receipts import FileRef, TrainingReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import (
    MalformedRequestError,
    NotFoundError,
    OutOfOrderError,
    TooLargeError,
    UnavailableError,
)
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.limits import LIMITS
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.engines.base import MIN_TEMPERATURE, Delta, InferenceEngine, PromptTooLongError, Sampling, Score
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.models.chat import ChatRefusedError
from veritune.provider.receipts import Receipts
from veritune.provider.serving.engine_pool import Adapter, Serving
from veritune.provider.storage.adapters import AdapterFolders
from veritune.provider.storage.records import AnswerRecord, GeneratedOutput, JobState, Output, ScoredOutput
from veritune.provider.storage.store import Store

Kind = Literal["generate", "score"]
"""The kind of a request, as its receipt names it."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]?)(\.[0-9]{1,6})?")
_PIECE_CHARACTERS = 4096
"""Most characters of a piece when a stored text is sent again."""


@dataclass(frozen=True)
class GeneratedAnswer:
    """A generated text as it is stored, and its signed receipt."""

    output: GeneratedOutput
    receipt: Envelope


@dataclass(frozen=True)
class ScoredAnswer:
    """Scores as they are stored, and their signed receipt."""

    output: ScoredOutput
    receipt: Envelope


@dataclass(frozen=True)
class _Call:
    """A checked request: its contract, the weights that answer it, and its digest."""

    contract: Contract
    base_model: Path
    adapter: Adapter | None
    training_receipt: Envelope | None
    kind: Kind
    digest: str


class Answering:
    """Answers chats with a base model or with the adapter of a job.

    Callers check with `Gate` that the contract's client asks, and check the chat's form and limits
    (`veritune.common.wire.messages_from_wire`). Everything else is checked here.
    """

    def __init__(
        self,
        contracts: Contracts,
        models: ModelCatalog,
        adapters: AdapterFolders,
        store: Store,
        receipts: Receipts,
        serving: Serving,
        accelerator: Accelerator,
        max_answers: int,
    ) -> None:
        self._contracts = contracts
        self._models = models
        self._adapters = adapters
        self._store = store
        self._receipts = receipts
        self._serving = serving
        self._accelerator = accelerator
        self._max_answers = max_answers

    async def generate(
        self, contract: Contract, job_id: str, messages: Sequence[Message], terms: SamplingTerms, nonce: bytes
    ) -> AsyncGenerator[str | GeneratedAnswer, None]:
        """Yields the text in pieces, then the whole answer with its receipt.

        ``job_id`` names the job whose adapter answers; if empty, the base model answers. ``nonce`` has 16 to 64 bytes.

        Raises:
            MalformedRequestError: the nonce or the sampling is malformed, or the model's template refuses the chat.
            TooLargeError: prompt and answer do not fit into the model's context.
            ExpiredError: the contract's last deadline has passed.
            UnknownModelError: the contract's base model is no longer offered.
            NotFoundError: the contract has no such job, or a file of the adapter is lost.
            OutOfOrderError: the job has not succeeded.
            QuotaError: the contract has as many answers as the provider's policy allows.
            UnavailableError: a job trains, every adapter slot is in use, or the same request was answered meanwhile.
        """
        sampling = check_sampling(terms)
        digest = generate_digest(job_id, messages, terms, _check_nonce(nonce))
        call = await self._call(contract, job_id, "generate", digest)
        stored = await in_thread(self._store.answer, contract.digest, digest)
        if stored is not None:
            answer = _generated(stored)
            for start in range(0, len(answer.output.text), _PIECE_CHARACTERS):
                yield answer.output.text[start : start + _PIECE_CHARACTERS]
            yield answer
            return
        pieces: list[str] = []
        last: Delta | None = None
        async with self._engine(call) as engine:
            deltas = engine.generate(_pairs(messages), sampling, _id(call))
            async with aclosing(cast("AsyncGenerator[Delta, None]", deltas)):
                async for delta in deltas:
                    if delta.text:
                        pieces.append(delta.text)
                        yield delta.text
                    if delta.finish_reason:
                        last = delta
        output = _generated_output("".join(pieces), last)
        sealed = text_output_digest(output.text, output.finish_reason, nonce)
        answer = _generated(await self._record(call, output, sealed))
        if (answer.output.text, answer.output.finish_reason) != (output.text, output.finish_reason):
            # The same request was answered meanwhile, and that answer is the one with the receipt.
            raise UnavailableError("the same request was answered by another call; ask again for its answer")
        yield answer

    async def score(
        self, contract: Contract, job_id: str, messages: Sequence[Message], completions: Sequence[str], nonce: bytes
    ) -> ScoredAnswer:
        """Log-probabilities (nats) of each completion as the answer to a chat, with a receipt.

        ``job_id`` and ``nonce`` are as in `generate`, and so are the errors; completions that `check_completions`
        refuses raise its errors.
        """
        check_completions(completions)
        digest = score_digest(job_id, messages, completions, _check_nonce(nonce))
        call = await self._call(contract, job_id, "score", digest)
        answer = await in_thread(self._store.answer, contract.digest, digest)
        if answer is None:
            async with self._engine(call) as engine:
                output = _scored_output(await engine.score(_pairs(messages), completions, _id(call)), len(completions))
            answer = await self._record(call, output, score_output_digest(output.totals, nonce))
        if not isinstance(answer.output, ScoredOutput):
            raise TypeError("another kind of answer is stored for a Score request")
        return ScoredAnswer(answer.output, answer.receipt)

    async def _call(self, contract: Contract, job_id: str, kind: Kind, digest: str) -> _Call:
        self._contracts.require_before(contract, "reveal")
        base = contract.manifest.base_model
        model = self._models.find(base.name, base.digest)
        if not job_id:
            return _Call(contract, model.folder, None, None, kind, digest)
        job = await in_thread(self._store.job, job_id)
        if job.manifest_digest != contract.digest:
            raise NotFoundError("no such job under this contract")
        if job.state is not JobState.SUCCEEDED or job.receipt is None:
            raise OutOfOrderError("the job has not succeeded", missing="adapter")
        files = TrainingReceipt.from_bytes(job.receipt.payload).adapter
        return _Call(contract, model.folder, self._adapter(job_id, files), job.receipt, kind, digest)

    def _adapter(self, job_id: str, files: tuple[FileRef, ...]) -> Adapter:
        return Adapter(job_id, lambda: in_thread(self._adapters.folder, files))

    @asynccontextmanager
    async def _engine(self, call: _Call) -> AsyncIterator[InferenceEngine]:
        async with self._accelerator.answering(), self._serving.engine(call.base_model, call.adapter) as engine:
            try:
                yield engine
            except PromptTooLongError as error:
                raise TooLargeError("prompt and answer do not fit into the model's context") from error
            except ChatRefusedError as error:
                raise MalformedRequestError("the base model's chat template refuses this chat") from error

    async def _record(self, call: _Call, output: Output, output_digest: str) -> AnswerRecord:
        digest = call.contract.digest

        def make(sequence: int) -> Envelope:
            return self._receipts.inference(
                digest, call.training_receipt, sequence, call.kind, call.digest, output_digest
            )

        return await in_thread(self._store.add_answer, digest, call.digest, output, make, self._max_answers)


def check_sampling(terms: SamplingTerms) -> Sampling:
    """The sampling parameters of a request as numbers.

    Raises `MalformedRequestError` for a value out of range or text that is no decimal number.
    """
    if not 1 <= terms.max_tokens <= LIMITS.max_tokens:
        raise MalformedRequestError(f"max_tokens must be from 1 to {LIMITS.max_tokens}")
    temperature, top_p = _decimal("temperature", terms.temperature), _decimal("top_p", terms.top_p)
    if temperature > 2:
        raise MalformedRequestError("temperature must be from 0 to 2")
    if not 0 < top_p <= 1:
        raise MalformedRequestError("top_p must be above 0 and up to 1")
    if 0 < temperature < MIN_TEMPERATURE:
        raise MalformedRequestError(f"a temperature above 0 must be at least {MIN_TEMPERATURE}")
    if not 0 <= terms.seed < 2**32:
        raise MalformedRequestError("seed must fit into 32 bits")
    return Sampling(terms.max_tokens, temperature, top_p, terms.seed)


def check_completions(completions: Sequence[str]) -> None:
    """Raises `MalformedRequestError` or `TooLargeError` for completions that can't be scored in one call."""
    if not 1 <= len(completions) <= LIMITS.completions:
        raise MalformedRequestError(f"there must be 1 to {LIMITS.completions} completions")
    if not all(completions):
        raise MalformedRequestError("an empty completion")
    if sum(map(len, completions)) > LIMITS.prompt_characters:
        raise TooLargeError(f"completions of more than {LIMITS.prompt_characters} characters")


def _check_nonce(nonce: bytes) -> bytes:
    if not 16 <= len(nonce) <= 64:
        raise MalformedRequestError("the nonce must be 16 to 64 bytes")
    return nonce


def _decimal(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise MalformedRequestError(f"{name} must be a decimal number with at most six places")
    return float(text)


def _pairs(messages: Sequence[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def _id(call: _Call) -> str | None:
    return None if call.adapter is None else call.adapter.id


def _generated(record: AnswerRecord) -> GeneratedAnswer:
    if not isinstance(record.output, GeneratedOutput):
        raise TypeError("another kind of answer is stored for a Generate request")
    return GeneratedAnswer(record.output, record.receipt)


def _generated_output(text: str, last: Delta | None) -> GeneratedOutput:
    if last is None or not last.finish_reason:
        raise RuntimeError("the engine ended without a reason")
    return GeneratedOutput(
        text=text,
        finish_reason=last.finish_reason,
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
    )


def _scored_output(scores: Sequence[Score], count: int) -> ScoredOutput:
    if len(scores) != count or not all(math.isfinite(score.total) for score in scores):
        raise RuntimeError("the engine's scores are too few or not finite")
    return ScoredOutput(
        totals=tuple(format_logprob(score.total) for score in scores),
        token_logprobs=tuple(tuple(score.token_logprobs) for score in scores),
    )
