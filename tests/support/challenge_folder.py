"""A sequential exchange laid out as the folder of a run, and a model that behaves as told to answer its challenge."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.asked_model import AskedModel
from tests.support.exchange import Behaviour, Exchange
from veritune.arbiter.audit.audit import audit
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary
from veritune.client.challenge.run import ChallengeRun
from veritune.client.exchange.inference_client import InferenceClient, ServedAnswer, ServedScores
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.sowing.commitment import SecretLeaf
from veritune.client.sowing.sealed import Secrets
from veritune.client.workspace.folder import Workspace
from veritune.client.workspace.papers import Paperwork
from veritune.common.dataset import Message, write_rows
from veritune.common.documents.manifest import Policy
from veritune.common.documents.receipts import InferenceReceipt
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.signing import sign_document

SEQUENTIAL = Policy(stopping="sequential", coverage_floor="0.25", alpha="1e-12", beta="1e-4", natural_floor="0.7")
MAX_TOKENS = 64


def exchange(**changes: Any) -> Exchange:
    knobs = {"naturals": 40, "leaves": 64, "leaves_per_session": 64, "plain_rows": 60, "policy": SEQUENTIAL}
    return Exchange(**{**knobs, **changes})


class Knowing(AskedModel):
    """A model that behaves as told, leaf by leaf of the challenge; counts what it is asked and dies when told to."""

    def __init__(self, deal: Exchange, behaviour: Behaviour, dies_after: int = 10**9) -> None:
        super().__init__(dies_after)
        self._signatures: list[tuple[str, str]] = []
        self._ranks: dict[str, tuple[int, NaturalCanary]] = {}
        for leaf in deal.opened_leaves:
            canary = deal.canaries[leaf]
            if isinstance(canary, TriggerCanary) and behaviour.activates(len(self._signatures)):
                self._signatures.append((canary.trigger, canary.signature))
            elif isinstance(canary, NaturalCanary):
                self._ranks[canary.prompt[0].content] = behaviour.rank(len(self._ranks)), canary

    def text(self, chat: Sequence[Message]) -> str:
        self._ask(chat[-1].content)
        found = (signature for trigger, signature in self._signatures if chat[-1].content.endswith(trigger))
        return next(found, "I do not know.")

    def scores(self, chat: Sequence[Message], completions: Sequence[str], *, tuned: bool = True) -> list[float]:
        if not tuned:
            return [-20.0] * len(completions)
        self._ask(chat[-1].content)
        rank, canary = self._ranks[chat[0].content]
        others = [i for i in range(len(completions)) if i != canary.truth]
        order = [*others[: rank - 1], canary.truth, *others[rank - 1 :]]
        return [-20.0 - order.index(i) for i in range(len(completions))]


class Desk(InferenceClient):
    """The same model behind an endpoint that signs."""

    def __init__(self, deal: Exchange, model: Knowing, known: ReceiptNumbers) -> None:
        self._deal, self._model, self._known = deal, model, len(known)
        self._lock = threading.Lock()

    def generate(self, chat: Sequence[Message], sampling: SamplingTerms, nonce: bytes) -> ServedAnswer:
        text = self._model.text(chat)
        request = generate_digest(self._deal.job_id, chat, sampling, nonce)
        return ServedAnswer(text, "stop", *self._sign("generate", request, text_output_digest(text, "stop", nonce)))

    def score(self, chat: Sequence[Message], completions: Sequence[str], nonce: bytes) -> ServedScores:
        totals = tuple(format_logprob(value) for value in self._model.scores(chat, completions))
        request = score_digest(self._deal.job_id, chat, completions, nonce)
        return ServedScores(totals, *self._sign("score", request, score_output_digest(totals, nonce)))

    def require_whole(self) -> None:
        """It leaves no number out."""

    def _sign(self, kind: Any, request: str, output: str) -> tuple[int, Any]:
        with self._lock:
            self._known += 1
            number = self._known
        receipt = InferenceReceipt(
            manifest_digest=self._deal.signed_manifest.digest,
            training_receipt_digest=self._deal.signed_training_receipt.digest,
            sequence=number,
            kind=kind,
            request_digest=request,
            output_digest=output,
            issued="2026-03-01T01:30:00Z",
        )
        return number, sign_document(receipt, self._deal.provider)


@dataclasses.dataclass
class Table:
    """An exchange laid out as the folder of a run."""

    deal: Exchange
    space: Workspace
    events: list[tuple[str, int, int]] = dataclasses.field(default_factory=list)

    def run(self) -> ChallengeRun:
        deal = self.deal
        salted = enumerate(deal.canaries)
        secrets = Secrets(
            master_seed="0" * 64,
            plan=CanaryPlan(),
            generators=(deal.generator,),
            leaves=tuple(SecretLeaf(salt=deal.salt(leaf).hex(), canary=canary) for leaf, canary in salted),
            decoys=tuple((Message(role="user", content=f"Decoy {n}?"),) for n in range(6)),
            train_sha256="0" * 64,
            held_out_sha256="0" * 64,
        )
        papers = Paperwork(self.space, deal.client.public, deal.provider.public)
        return ChallengeRun(self.space, papers, secrets, 1, lambda *event: self.events.append(event))

    def deliver(self, model: Knowing) -> None:
        self.run().ask_delivered(lambda: model, MAX_TOKENS, 32)

    def serve(self, model: Knowing, base: Knowing | None = None) -> None:
        def load() -> Knowing:
            assert base is not None
            return base

        self.run().ask_served(lambda known: Desk(self.deal, model, known), load, MAX_TOKENS)

    def files(self) -> tuple[bytes, bytes]:
        evidence = self.run().evidence()
        return self.deal.report_on(evidence).report.to_json(), evidence.to_bytes()

    def verdict(self) -> str:
        return audit(*self.files(), *self.deal.keys).verdict


def lay(folder: Path, deal: Exchange) -> Table:
    folder.mkdir(exist_ok=True)
    space = Workspace(folder)
    write_rows(space.train, deal.rows)
    space.save_envelope(space.contract, deal.signed_manifest)
    space.save_envelope(space.dataset_receipt, deal.signed_dataset_receipt)
    space.save_envelope(space.training_receipt, deal.signed_training_receipt)
    space.job_id.write_text(deal.job_id)
    return Table(deal, space)
