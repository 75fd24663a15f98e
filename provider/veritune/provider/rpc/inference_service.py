"""The gRPC InferenceService: translates requests to calls of `Answering`, and its answers to responses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from veritune.common.inference import SamplingTerms
from veritune.common.wire import envelope_to_wire, messages_from_wire
from veritune.provider.contracts.gate import Gate
from veritune.provider.rpc.access import Context, access_header
from veritune.provider.rpc.status import stream, unary
from veritune.provider.serving.answering import Answering, GeneratedAnswer
from veritune.v1 import inference_service_pb2 as pb
from veritune.v1 import inference_service_pb2_grpc as pb_grpc


class InferenceService(pb_grpc.InferenceServiceServicer):
    """Handlers of InferenceService; an error that a handler raises becomes a gRPC status (`rpc.status`)."""

    def __init__(self, gate: Gate, answering: Answering) -> None:
        self._gate = gate
        self._answering = answering

    @stream
    async def Generate(  # noqa: N802 - the name in the schema, here and below
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Streams the answer to a chat in pieces of text, then its token counts with the signed receipt.

        Raises as `access_header`, `Gate.contract`, `messages_from_wire` and `Answering.generate` do.
        """
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        messages = messages_from_wire(request.messages)
        terms = SamplingTerms(
            max_tokens=request.sampling.max_tokens,
            temperature=request.sampling.temperature,
            top_p=request.sampling.top_p,
            seed=request.sampling.seed,
        )
        parts = self._answering.generate(contract, request.job_id, messages, terms, request.nonce)
        async with aclosing(parts):
            async for part in parts:
                yield pb.GenerateResponse(delta=part) if isinstance(part, str) else _result(part)

    @unary
    async def Score(self, request: pb.ScoreRequest, context: Context) -> pb.ScoreResponse:  # noqa: N802
        """Returns the log-probabilities of completions as answers to a chat, with the signed receipt.

        Raises as `access_header`, `Gate.contract`, `messages_from_wire` and `Answering.score` do.
        """
        contract = await self._gate.contract(access_header(context), request.manifest_digest)
        messages = messages_from_wire(request.messages)
        answer = await self._answering.score(
            contract, request.job_id, messages, list(request.completions), request.nonce
        )
        pairs = zip(answer.output.totals, answer.output.token_logprobs, strict=True)
        return pb.ScoreResponse(
            scores=[pb.CompletionScore(total=total, token_logprobs=tokens) for total, tokens in pairs],
            receipt=envelope_to_wire(answer.receipt),
        )


def _result(answer: GeneratedAnswer) -> pb.GenerateResponse:
    return pb.GenerateResponse(
        result=pb.GenerateResult(
            finish_reason=answer.output.finish_reason,
            prompt_tokens=answer.output.prompt_tokens,
            completion_tokens=answer.output.completion_tokens,
            receipt=envelope_to_wire(answer.receipt),
        )
    )
