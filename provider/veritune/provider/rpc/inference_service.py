"""InferenceService on the wire: answers from a base model or an adapter, each with a receipt.

The answer is computed first; then, in one transaction, it is numbered, signed and stored; then it is sent. A call that
is cut off before its answer is whole leaves no receipt and no number. The same request with the same nonce again gets
the stored answer, so that a break on the way back leaves no gap in what the client holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from veritune.common.dataset import Message
from veritune.common.envelope import Envelope
from veritune.common.errors import MalformedRequestError, NotFoundError, TooLargeError
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.limits import LIMITS
from veritune.common.wire import envelope_to_wire, messages_from_wire
from veritune.provider.concurrency import in_thread
from veritune.provider.contracts.contracts import Contract, Contracts
from veritune.provider.contracts.gate import Gate
from veritune.provider.engines.base import InferenceEngine, PromptTooLongError, Sampling
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.jobs.jobs import Jobs
from veritune.provider.models.catalog import ModelCatalog
from veritune.provider.receipts import Receipts
from veritune.provider.rpc.access import Context, access_header
from veritune.provider.rpc.status import stream, unary
from veritune.provider.serving.engine_pool import Serving
from veritune.provider.storage.records import AnswerRecord
from veritune.provider.storage.store import Store
from veritune.v1 import inference_service_pb2 as pb
from veritune.v1 import inference_service_pb2_grpc as pb_grpc

Kind = Literal["generate", "score"]

_DECIMAL = re.compile(r"^(0|[1-9][0-9]?)(\.[0-9]{1,6})?$")
_DELTA_CHARACTERS = 4096


@dataclass(frozen=True)
class _Call:
    """A checked request: under which contract, of which weights, and its digest."""

    contract: Contract
    base_model: Path
    adapter: str | None
    folder: Path | None
    training_receipt: Envelope | None
    kind: Kind
    digest: str


class InferenceService(pb_grpc.InferenceServiceServicer):
    """The handlers."""

    def __init__(
        self,
        gate: Gate,
        contracts: Contracts,
        models: ModelCatalog,
        jobs: Jobs,
        store: Store,
        receipts: Receipts,
        serving: Serving,
        accelerator: Accelerator,
        max_answers: int,
    ) -> None:
        self._gate = gate
        self._contracts = contracts
        self._models = models
        self._jobs = jobs
        self._store = store
        self._receipts = receipts
        self._serving = serving
        self._accelerator = accelerator
        self._max_answers = max_answers

    @stream
    async def Generate(  # noqa: N802 - the name in the schema, here and below
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        messages, terms = messages_from_wire(request.messages), sampling_terms(request.sampling)
        nonce = _nonce(request.nonce)
        digest = generate_digest(request.job_id, messages, terms, nonce)
        call = await self._call(contract, request.job_id, "generate", digest)
        stored = await in_thread(self._store.answer, contract.digest, digest)
        if stored is not None:
            text = stored.output["text"]
            for start in range(0, len(text), _DELTA_CHARACTERS):
                yield pb.GenerateResponse(delta=text[start : start + _DELTA_CHARACTERS])
            yield _result(stored)
            return
        sampling = Sampling(terms.max_tokens, float(terms.temperature), float(terms.top_p), terms.seed)
        pieces: list[str] = []
        output: dict[str, Any] = {}
        async with self._engine(call) as engine:
            deltas = engine.generate(_pairs(messages), sampling, call.adapter)
            async with aclosing(cast("AsyncGenerator[Any, None]", deltas)):
                async for delta in deltas:
                    if delta.text:
                        pieces.append(delta.text)
                        yield pb.GenerateResponse(delta=delta.text)
                    if delta.finish_reason:
                        output = {
                            "finish_reason": delta.finish_reason,
                            "prompt_tokens": delta.prompt_tokens,
                            "completion_tokens": delta.completion_tokens,
                        }
        if not output:
            raise RuntimeError("the engine ended without a reason")
        output["text"] = "".join(pieces)
        sealed = text_output_digest(output["text"], output["finish_reason"], nonce)
        yield _result(await self._record(call, output, sealed))

    @unary
    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        messages, completions = messages_from_wire(request.messages), _completions(request.completions)
        nonce = _nonce(request.nonce)
        digest = score_digest(request.job_id, messages, completions, nonce)
        call = await self._call(contract, request.job_id, "score", digest)
        answer = await in_thread(self._store.answer, contract.digest, digest)
        if answer is None:
            async with self._engine(call) as engine:
                scores = await engine.score(_pairs(messages), completions, call.adapter)
            if len(scores) != len(completions) or not all(math.isfinite(score.total) for score in scores):
                raise RuntimeError("the engine's scores are too few or not finite")
            output: dict[str, Any] = {
                "totals": [format_logprob(score.total) for score in scores],
                "token_logprobs": [list(score.token_logprobs) for score in scores],
            }
            answer = await self._record(call, output, score_output_digest(output["totals"], nonce))
        pairs = zip(answer.output["totals"], answer.output["token_logprobs"], strict=True)
        return pb.ScoreResponse(
            scores=[pb.CompletionScore(total=total, token_logprobs=tokens) for total, tokens in pairs],
            receipt=envelope_to_wire(answer.receipt),
        )

    async def _call(self, contract: Contract, job_id: str, kind: Kind, digest: str) -> _Call:
        self._contracts.require_before(contract, "reveal")
        base = contract.manifest.base_model
        model = self._models.find(base.name, base.digest)
        if not job_id:
            return _Call(contract, model.folder, None, None, None, kind, digest)
        job = await self._jobs.get(job_id)
        if job.manifest_digest != contract.digest:
            raise NotFoundError("no such job under this contract")
        folder = await in_thread(self._jobs.adapter_folder, job)
        return _Call(contract, model.folder, job_id, folder, job.receipt, kind, digest)

    @asynccontextmanager
    async def _engine(self, call: _Call) -> AsyncIterator[InferenceEngine]:
        async with (
            self._accelerator.answering(),
            self._serving.engine(call.base_model, call.adapter, call.folder) as engine,
        ):
            try:
                yield engine
            except PromptTooLongError as error:
                raise TooLargeError("prompt and answer do not fit into the model's context") from error
            except ValueError as error:
                raise MalformedRequestError("the base model's chat template refuses this chat") from error

    async def _record(self, call: _Call, output: dict[str, Any], output_digest: str) -> AnswerRecord:
        digest = call.contract.digest

        def make(sequence: int) -> Envelope:
            return self._receipts.inference(
                digest, call.training_receipt, sequence, call.kind, call.digest, output_digest
            )

        return await in_thread(self._store.add_answer, digest, call.digest, output, make, self._max_answers)


def sampling_terms(sampling: pb.Sampling) -> SamplingTerms:
    """Checks how to decode. Raises `MalformedRequestError`."""
    if not 1 <= sampling.max_tokens <= LIMITS.max_tokens:
        raise MalformedRequestError(f"max_tokens must be from 1 to {LIMITS.max_tokens}")
    temperature, top_p = _decimal("temperature", sampling.temperature), _decimal("top_p", sampling.top_p)
    if temperature > 2:
        raise MalformedRequestError("temperature must be from 0 to 2")
    if not 0 < top_p <= 1:
        raise MalformedRequestError("top_p must be above 0 and up to 1")
    return SamplingTerms(
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
    )


def _decimal(name: str, text: str) -> float:
    if not _DECIMAL.fullmatch(text):
        raise MalformedRequestError(f"{name} must be a decimal number with at most six places")
    return float(text)


def _nonce(nonce: bytes) -> bytes:
    if not 16 <= len(nonce) <= 64:
        raise MalformedRequestError("the nonce must be 16 to 64 bytes")
    return nonce


def _completions(completions: Iterable[str]) -> list[str]:
    items = list(completions)
    if not 1 <= len(items) <= LIMITS.completions:
        raise MalformedRequestError(f"there must be 1 to {LIMITS.completions} completions")
    if not all(items):
        raise MalformedRequestError("an empty completion")
    if sum(map(len, items)) > LIMITS.prompt_characters:
        raise TooLargeError(f"completions of more than {LIMITS.prompt_characters} characters")
    return items


def _pairs(messages: Iterable[Message]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def _result(answer: AnswerRecord) -> pb.GenerateResponse:
    output = answer.output
    return pb.GenerateResponse(
        result=pb.GenerateResult(
            finish_reason=output["finish_reason"],
            prompt_tokens=output["prompt_tokens"],
            completion_tokens=output["completion_tokens"],
            receipt=envelope_to_wire(answer.receipt),
        )
    )
