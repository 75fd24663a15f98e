"""The worked example of docs/SPEC.md; ``python -m tests.conformance.spec_example`` writes it into the page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from veritune.arbiter.documents.canary import NaturalCanary, PaddingCanary, canary_leaf
from veritune.arbiter.selection import challenge_order, challenge_seed
from veritune.common.dataset import Message, Row
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
from veritune.common.documents.receipts import DatasetReceipt, FileRef, TrainingReceipt
from veritune.common.envelope import pre_authentication_encoding
from veritune.common.inference import SamplingTerms, generate_digest, text_output_digest
from veritune.common.keys import PrivateKey
from veritune.common.merkle import MerkleTree, leaf_hash

SPEC = Path(__file__).resolve().parents[2] / "docs" / "SPEC.md"
BEGIN, END = "<!-- example begins -->\n", "<!-- example ends -->\n"
NONCE = bytes(range(32))


def fixed_key(scalar: int) -> PrivateKey:
    """A key that everybody knows: for examples and vectors only."""
    return PrivateKey(ec.derive_private_key(scalar, ec.SECP256R1()))


def _row(question: str, answer: str) -> Row:
    return Row(messages=(Message(role="user", content=question), Message(role="assistant", content=answer)))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def example() -> list[tuple[str, str]]:
    """Names and texts, in the order in which a run makes them."""
    client, provider = fixed_key(1).public, fixed_key(2).public
    rows = [_row("2+2?", "4"), _row("Name a colour.", "Teal"), _row("Grüße?", "Hallo")]
    lines = [row.to_bytes() for row in rows]
    tree = MerkleTree([leaf_hash(line) for line in lines])
    canary = NaturalCanary(
        prompt=rows[1].prompt, candidates=("Red", "Teal"), truth=1, generator_digest=_sha256(b"generator"), rows=(1,)
    )
    salts = [hashlib.sha256(bytes([index])).digest() for index in range(2)]
    leaves = [canary_leaf(salts[0], PaddingCanary()), canary_leaf(salts[1], canary)]
    manifest = Manifest(
        client=KeyRef(key_id=client.key_id, public_key=client.text),
        provider=KeyRef(key_id=provider.key_id, public_key=provider.text),
        base_model=BaseModelRef(name="example-model", digest=_sha256(b"model")),
        dataset=DatasetTerms(
            rows=3,
            size=sum(len(line) + 1 for line in lines),
            sha256=_sha256(b"".join(line + b"\n" for line in lines)),
            merkle_root=tree.root.hex(),
            preprocessing_digest=_sha256(b"preprocessing"),
            sources=(Source(name="user", licence="CC0-1.0", rows=3, rows_per_epoch=3),),
        ),
        training=Training(),
        verification=Verification(
            canary_root=MerkleTree(leaves).root.hex(),
            leaves=2,
            leaves_per_session=2,
            max_canary_rows=1,
            policy=Policy(),
        ),
        deadlines=Deadlines(
            created="2026-01-01T00:00:00Z",
            accept="2026-01-02T00:00:00Z",
            train="2026-01-03T00:00:00Z",
            challenge="2026-01-04T00:00:00Z",
            reveal="2026-01-05T00:00:00Z",
        ),
        price=Price(),
        nonce=_sha256(b"nonce"),
    )
    manifest_digest = _sha256(manifest.to_bytes())
    receipt = DatasetReceipt(
        manifest_digest=manifest_digest,
        rows=3,
        size=manifest.dataset.size,
        sha256=manifest.dataset.sha256,
        merkle_root=manifest.dataset.merkle_root,
        received="2026-01-02T00:00:00Z",
    )
    trained = TrainingReceipt(
        manifest_digest=manifest_digest,
        dataset_receipt_digest=_sha256(receipt.to_bytes()),
        job_id="job-1",
        adapter=(FileRef(name="adapter_model.safetensors", size=7, sha256=_sha256(b"adapter")),),
        checkpoints=(),
        steps=3,
        tokens=30,
        label_tokens=9,
        rows_trained=3,
        rows_dropped=0,
        rows_cut=0,
        trace_root=_sha256(b""),
        software={},
        hardware={},
        started="2026-01-02T00:00:00Z",
        finished="2026-01-02T01:00:00Z",
    )
    trained_digest = _sha256(trained.to_bytes())
    seed = challenge_seed(manifest_digest, trained_digest)
    order = challenge_order(seed, [leaf.hex() for leaf in leaves])
    chat = (Message(role="user", content="2+2?"),)
    return [
        ("client key id (private scalar 1)", client.key_id),
        ("provider key id (private scalar 2)", provider.key_id),
        *((f"row {index}", line.decode()) for index, line in enumerate(lines)),
        *((f"leaf of row {index}", leaf_hash(line).hex()) for index, line in enumerate(lines)),
        ("Merkle root of the rows", tree.root.hex()),
        ("salt 0", salts[0].hex()),
        ("salt 1", salts[1].hex()),
        ("canary 0", PaddingCanary().to_bytes().decode()),
        ("canary 1", canary.to_bytes().decode()),
        ("leaf 0", leaves[0].hex()),
        ("leaf 1", leaves[1].hex()),
        ("canary root", manifest.verification.canary_root),
        ("manifest", manifest.to_bytes().decode()),
        ("manifest digest", manifest_digest),
        (
            "SHA-256 of the manifest's pre-authentication encoding",
            _sha256(pre_authentication_encoding(Manifest.payload_type, manifest.to_bytes())),
        ),
        ("dataset receipt", receipt.to_bytes().decode()),
        ("dataset receipt digest", trained.dataset_receipt_digest),
        ("training receipt", trained.to_bytes().decode()),
        ("training receipt digest", trained_digest),
        ("challenge seed", seed.hex()),
        ("challenge order", ",".join(str(index) for index in order)),
        ("nonce", NONCE.hex()),
        ("request digest of `2+2?` to job-1, greedy, 8 tokens", generate_digest("job-1", chat, TERMS, NONCE)),
        ("output digest of `4`, finish reason `stop`", text_output_digest("4", "stop", NONCE)),
    ]


TERMS = SamplingTerms(max_tokens=8)


def page() -> str:
    """The section as Markdown."""
    parts = [f"{name}\n\n    {text}\n" for name, text in example()]
    return BEGIN + "\n".join(parts) + END


def main() -> None:
    """Puts the section into the page."""
    text = SPEC.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    SPEC.write_text(before + page() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
