"""A complete exchange in memory, without any model: what honest and cheating parties sign, for tests of the verdict.

`Exchange` makes the documents of an honest run in well under a second. Its fields may be replaced
(``dataclasses.replace``) or its evidence changed and signed again, which is what an adversary does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.sowing import REWORDING, Sowing, user
from veritune.arbiter.documents.canary import NaturalCanary, PaddingCanary, TriggerCanary, with_signature, with_trigger
from veritune.arbiter.documents.evidence import (
    DecoyObservation,
    EnvelopeDocument,
    Evidence,
    NaturalObservation,
    Observations,
    OpenedRow,
    Opening,
    ReceiptRef,
    TriggerObservation,
)
from veritune.arbiter.documents.statement import Overhead, TaskScore
from veritune.arbiter.report import report_statement
from veritune.arbiter.selection import challenge_order, challenge_seed, session_leaves
from veritune.client.run.report import SignedReport, sign_report
from veritune.common.dataset import Message
from veritune.common.documents.manifest import (
    BaseModelRef,
    DatasetTerms,
    Deadlines,
    KeyRef,
    Manifest,
    Policy,
    Price,
    Source,
    Training,
    Verification,
)
from veritune.common.documents.receipts import Checkpoint, DatasetReceipt, FileRef, InferenceReceipt, TrainingReceipt
from veritune.common.envelope import Envelope, countersign
from veritune.common.inference import (
    SamplingTerms,
    format_logprob,
    generate_digest,
    score_digest,
    score_output_digest,
    text_output_digest,
)
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.merkle import MerkleTree
from veritune.common.signing import sign_document

Chat = tuple[Message, ...]
BOTH_WAYS = Policy(coverage_floor="0", modes=("delivered", "served"), served_assumption="answers-from-weights")


class FixedKey(PrivateKey):
    """A key that is the same in every run and signs the same message the same way (RFC 6979). For tests alone."""

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def fixed_key(seed: int) -> PrivateKey:
    """One of the fixed keys."""
    return FixedKey(ec.derive_private_key(0x5EED0000 + seed, ec.SECP256R1()))


def digest(text: str) -> str:
    """SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Behaviour:
    """How the model answers: which groups show their signature, and which rank each natural canary's truth gets."""

    activates: Callable[[int], bool] = lambda group: True
    rank: Callable[[int], int] = lambda natural: 1
    served_alike: Callable[[int], bool] = lambda decoy: True
    """Whether the endpoint answers a decoy as the adapter does."""


HONEST = Behaviour()
UNTRAINED = Behaviour(activates=lambda group: False, rank=lambda natural: 1 + natural % 16)


@dataclass(frozen=True)
class Exchange(Sowing):
    """The knobs of one exchange, those of its data among them; everything else follows, lazily and once."""

    leaves_per_session: int = 32
    session: int = 1
    opens: int | None = None
    """How many leaves a sequential challenge asks before it stops; None: all."""
    modes: tuple[str, ...] = ("delivered",)
    decoys: int = 3
    behaviour: Behaviour = HONEST
    client: PrivateKey = field(default_factory=lambda: fixed_key(1))
    provider: PrivateKey = field(default_factory=lambda: fixed_key(2))
    job_id: str = "job-1"

    # --- both sign -------------------------------------------------------------------------------------------------

    @property
    def signed_policy(self) -> Policy:
        """Asks for no more rows in a group than there are, as an honest client's does."""
        fewest = min(self.policy.group_rows, self.rows_per_group)
        return self.policy.model_copy(update={"group_rows": fewest})

    @cached_property
    def manifest(self) -> Manifest:
        data = b"".join(row.to_bytes() + b"\n" for row in self.rows)
        return Manifest(
            client=key_ref(self.client.public),
            provider=key_ref(self.provider.public),
            base_model=BaseModelRef(name="tests/base", digest=digest("base")),
            dataset=DatasetTerms(
                rows=len(self.rows),
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                merkle_root=self.row_tree.root.hex(),
                preprocessing_digest=digest("as is"),
                sources=(Source(name="user", licence="CC0-1.0", rows=len(self.rows), rows_per_epoch=len(self.rows)),),
            ),
            training=Training(),
            verification=Verification(
                canary_root=MerkleTree([bytes.fromhex(leaf) for leaf in self.leaf_hashes]).root.hex(),
                leaves=self.leaves,
                leaves_per_session=self.leaves_per_session,
                max_canary_rows=sum(len(c.rows) for c in self.canaries if not isinstance(c, PaddingCanary)),
                policy=self.signed_policy,
            ),
            deadlines=Deadlines(
                created="2026-03-01T00:00:00Z",
                accept="2026-03-02T00:00:00Z",
                train="2026-03-03T00:00:00Z",
                challenge="2026-03-04T00:00:00Z",
                reveal="2026-03-05T00:00:00Z",
            ),
            price=Price(),
            nonce=digest(f"nonce {self.seed}"),
        )

    @cached_property
    def signed_manifest(self) -> Envelope:
        return countersign(sign_document(self.manifest, self.client), self.provider)

    @cached_property
    def signed_dataset_receipt(self) -> Envelope:
        terms = self.manifest.dataset
        receipt = DatasetReceipt(
            manifest_digest=self.signed_manifest.digest,
            rows=terms.rows,
            size=terms.size,
            sha256=terms.sha256,
            merkle_root=terms.merkle_root,
            received="2026-03-01T00:10:00Z",
        )
        return sign_document(receipt, self.provider)

    @cached_property
    def training_receipt(self) -> TrainingReceipt:
        return TrainingReceipt(
            manifest_digest=self.signed_manifest.digest,
            dataset_receipt_digest=self.signed_dataset_receipt.digest,
            job_id=self.job_id,
            adapter=adapter_files(),
            checkpoints=(Checkpoint(step=9, sha256=digest("weights")),),
            steps=9,
            tokens=9000,
            label_tokens=3000,
            rows_trained=len(self.rows),
            rows_dropped=0,
            rows_cut=0,
            trace_root=digest("trace"),
            software={"torch": "2.9.0"},
            hardware={"processor": "test"},
            started="2026-03-01T00:11:00Z",
            finished="2026-03-01T01:00:00Z",
        )

    @cached_property
    def signed_training_receipt(self) -> Envelope:
        return sign_document(self.training_receipt, self.provider)

    # --- the client asks -------------------------------------------------------------------------------------------

    @cached_property
    def opened_leaves(self) -> tuple[int, ...]:
        seed = challenge_seed(self.signed_manifest.digest, self.signed_training_receipt.digest)
        order = challenge_order(seed, self.leaf_hashes)
        return tuple(session_leaves(order, self.session, self.manifest.verification)[: self.opens])

    def opening(self, leaf: int) -> Opening:
        canary = self.canaries[leaf]
        named = () if isinstance(canary, PaddingCanary) else canary.rows
        rows = tuple(
            OpenedRow(index=i, row=self.rows[i], proof=tuple(step.hex() for step in self.row_tree.proof(i)))
            for i in named
        )
        return Opening(leaf=leaf, salt=self.salt(leaf).hex(), canary=canary, rows=rows)

    def observations(self, mode: str) -> Observations:
        """Every question that the contract asks for, the groups' own rows, and the decoys."""
        desk = _Desk(self, served=mode == "served")
        triggers, naturals = [], []
        groups_seen = naturals_seen = 0
        for leaf in self.opened_leaves:
            canary = self.canaries[leaf]
            if isinstance(canary, TriggerCanary):
                shows = self.behaviour.activates(groups_seen)
                groups_seen += 1
                answer = with_signature("Done.", canary.signature) if shows else "I do not know."
                prompts = [(True, q, with_trigger(p, canary.trigger)) for q, p in enumerate(canary.held_out)]
                prompts += [(False, q, self.rows[i].prompt) for q, i in enumerate(canary.rows)]
                for held_out, query, prompt in prompts:
                    asked = desk.generate(prompt, answer)
                    triggers.append(
                        TriggerObservation(
                            leaf=leaf,
                            held_out=held_out,
                            query=query,
                            answer=answer,
                            finish_reason="stop",
                            asked=asked,
                        )
                    )
            elif isinstance(canary, NaturalCanary):
                naturals.append(self._scored(desk, leaf, canary, self.behaviour.rank(naturals_seen)))
                naturals_seen += 1
        decoys = []
        for number in range(self.decoys):
            prompt = (user(f"Decoy {number}?"),)
            alike = mode == "delivered" or self.behaviour.served_alike(number)
            answer = "An ordinary answer." if alike else "What another model says."
            asked = desk.generate(prompt, answer)
            decoys.append(DecoyObservation(prompt=prompt, answer=answer, finish_reason="stop", asked=asked))
        return Observations(
            mode="served" if mode == "served" else "delivered",
            sampling=desk.sampling,
            triggers=tuple(triggers),
            decoys=tuple(decoys),
            naturals=tuple(naturals),
            receipts=tuple(EnvelopeDocument.of(receipt) for receipt in desk.receipts),
        )

    def _scored(self, desk: _Desk, leaf: int, canary: NaturalCanary, rank: int) -> NaturalObservation:
        """Scores by which the truth comes out at ``rank``, by the contract's weight of the base scores alone."""
        truth = min(canary.truth, len(canary.candidates) - 1)
        others = [i for i in range(len(canary.candidates)) if i != truth]
        order = [*others[: rank - 1], truth, *others[rank - 1 :]]
        base = [-20.0 - 8 * i for i in range(len(order))]
        weight = float(self.policy.base_weight)
        tuned = [weight * base[i] - order.index(i) for i in range(len(order))]
        texts = tuple(format_logprob(value) for value in tuned)
        return NaturalObservation(
            leaf=leaf,
            tuned=texts,
            base=tuple(format_logprob(value) for value in base),
            asked=desk.score(canary.prompt, canary.candidates, texts),
        )

    # --- the client reports ----------------------------------------------------------------------------------------

    @cached_property
    def evidence(self) -> Evidence:
        return Evidence(
            manifest=EnvelopeDocument.of(self.signed_manifest),
            dataset_receipt=EnvelopeDocument.of(self.signed_dataset_receipt),
            training_receipt=EnvelopeDocument.of(self.signed_training_receipt),
            session=self.session,
            generators=(self.generator, REWORDING) if self.in_place else (self.generator,),
            leaf_hashes=self.leaf_hashes,
            openings=tuple(self.opening(leaf) for leaf in self.opened_leaves),
            observations=tuple(self.observations(mode) for mode in self.modes),
            software={"veritune": "0.1.0"},
        )

    def report_on(self, evidence: Evidence) -> SignedReport:
        """A report on any bundle, signed by the client: what a cheating client sends too."""
        statement = report_statement(
            evidence,
            issued="2026-03-01T02:00:00Z",
            overhead=Overhead(extra_rows=self.groups * self.rows_per_group, extra_tokens_percent="0.84"),
            task=TaskScore(metric="exact match", rows=40, before="0.05", after="0.61"),
        )
        return sign_report(statement, self.client)

    @cached_property
    def report(self) -> SignedReport:
        return self.report_on(self.evidence)

    @property
    def report_bytes(self) -> bytes:
        return self.report.report.to_json()

    @property
    def evidence_bytes(self) -> bytes:
        return self.evidence.to_bytes()

    @property
    def keys(self) -> tuple[PublicKey, PublicKey]:
        """The client's and the provider's public keys, as `audit` takes them."""
        return self.client.public, self.provider.public

    def but(self, **changes: Any) -> Exchange:
        """The same exchange with other knobs."""
        return replace(self, **changes)

    def having(self, **parts: Any) -> Exchange:
        """The same exchange with parts that do not follow from the knobs; what rests on them is made anew."""
        other = replace(self)
        other.__dict__.update(parts)  # where `cached_property` keeps its values
        return other


def small(**changes: Any) -> Exchange:
    """The smallest exchange that has one of everything, looked at both ways."""
    knobs: dict[str, Any] = {
        "groups": 2,
        "rows_per_group": 2,
        "naturals": 2,
        "repetitions": (1, 2),
        "in_place": 1,
        "candidates": 3,
        "plain_rows": 6,
        "leaves": 8,
        "leaves_per_session": 8,
        "policy": BOTH_WAYS,
        "modes": ("delivered", "served"),
        **changes,
    }
    return Exchange(**knobs)


@dataclass
class _Desk:
    """Where questions are put: the endpoint, which signs receipts, or the client's own model, which does not."""

    exchange: Exchange
    served: bool
    sampling: SamplingTerms = field(default_factory=SamplingTerms)
    receipts: list[Envelope] = field(default_factory=list)

    def generate(self, prompt: Chat, answer: str) -> ReceiptRef | None:
        nonce = self._nonce()
        request = generate_digest(self.exchange.job_id, prompt, self.sampling, nonce)
        return self._sign("generate", request, text_output_digest(answer, "stop", nonce), nonce)

    def score(self, prompt: Chat, candidates: Sequence[str], totals: Sequence[str]) -> ReceiptRef | None:
        nonce = self._nonce()
        request = score_digest(self.exchange.job_id, prompt, candidates, nonce)
        return self._sign("score", request, score_output_digest(totals, nonce), nonce)

    def _nonce(self) -> bytes:
        return hashlib.sha256(b"nonce %d" % len(self.receipts)).digest()

    def _sign(self, kind: Any, request: str, output: str, nonce: bytes) -> ReceiptRef | None:
        if not self.served:
            return None
        receipt = InferenceReceipt(
            manifest_digest=self.exchange.signed_manifest.digest,
            training_receipt_digest=self.exchange.signed_training_receipt.digest,
            sequence=len(self.receipts) + 1,
            kind=kind,
            request_digest=request,
            output_digest=output,
            issued="2026-03-01T01:30:00Z",
        )
        self.receipts.append(sign_document(receipt, self.exchange.provider))
        return ReceiptRef(nonce=nonce.hex(), sequence=len(self.receipts))


def adapter_files() -> tuple[FileRef, ...]:
    """The files of the adapter that an honest provider signs."""
    return (
        FileRef(name="adapter_config.json", size=2, sha256=digest("{}")),
        FileRef(name="adapter_model.safetensors", size=7, sha256=digest("weights")),
    )


def key_ref(key: PublicKey) -> KeyRef:
    """A key as a manifest names it."""
    return KeyRef(key_id=key.key_id, public_key=key.text)
