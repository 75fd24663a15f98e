"""How cheating clients and providers forge what they hand in: edits of an honest exchange, signed anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.exchange import Exchange
from veritune.arbiter.documents.canary import Canary, NaturalCanary, TriggerCanary
from veritune.arbiter.documents.evidence import EnvelopeDocument
from veritune.arbiter.documents.statement import PAYLOAD_TYPE
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.documents.receipts import InferenceReceipt
from veritune.common.envelope import Envelope, sign
from veritune.common.keys import PrivateKey
from veritune.common.signing import sign_document

Files = tuple[bytes, bytes]
"""Report and evidence, as they stand on disk."""
Edit = Callable[[dict[str, Any]], object]


@dataclass(frozen=True)
class Cheat:
    """``make`` turns an honest exchange into what the cheater hands in."""

    check: int
    make: Callable[[Exchange], Files]


def honest(exchange: Exchange) -> Files:
    return exchange.report_bytes, exchange.evidence_bytes


def forge(
    exchange: Exchange, evidence: Edit | None = None, statement: Edit | None = None, key: PrivateKey | None = None
) -> Files:
    """Edits the evidence, makes the report name it, edits the report, and signs that: all that a client can do."""
    bundle = exchange.evidence.model_dump(mode="json")
    if evidence:
        evidence(bundle)
    data = canonical_bytes(bundle)
    said = exchange.report.statement.model_dump(mode="json")
    said["predicate"]["chain"]["evidence"] = sha256_hex(data)
    if statement:
        statement(said)
    return sign(PAYLOAD_TYPE, canonical_bytes(said), key or exchange.client).to_json(), data


def edits(check: int, evidence: Edit | None = None, statement: Edit | None = None) -> Cheat:
    return Cheat(check, lambda exchange: forge(exchange, evidence, statement))


def parts(check: int, **make: Callable[[Exchange], Any]) -> Cheat:
    """Parts of the exchange made differently, with everything after them consistent."""

    def run(exchange: Exchange) -> Files:
        return honest(exchange.having(**{name: of(exchange) for name, of in make.items()}))

    return Cheat(check, run)


def sown(check: int, tamper: Callable[[Canary], Canary]) -> Cheat:
    return Cheat(check, lambda exchange: honest(exchange.but(tamper=tamper)))


def triggers_with(**update: Any) -> Callable[[Canary], Canary]:
    return lambda canary: canary.model_copy(update=update) if isinstance(canary, TriggerCanary) else canary


def naturals_with(**update: Any) -> Callable[[Canary], Canary]:
    return lambda canary: canary.model_copy(update=update) if isinstance(canary, NaturalCanary) else canary


def manifest_with(**update: Any) -> Callable[[Exchange], Any]:
    return lambda exchange: exchange.manifest.model_copy(update=update)


def training_with(**update: Any) -> Callable[[Exchange], Envelope]:
    return lambda e: sign_document(e.training_receipt.model_copy(update=update), e.provider)


def rows_of(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return next(o["rows"] for o in bundle["openings"] if o["canary"]["kind"] == kind)


def opening(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["openings"] if o["canary"]["kind"] == kind)
    return found


def served(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["observations"] if o["mode"] == "served")
    return found


def delivered(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(o for o in bundle["observations"] if o["mode"] == "delivered")
    return found


def flip(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def put(target: Callable[[dict[str, Any]], dict[str, Any] | list[Any]], key: Any, value: Any) -> Edit:
    """An edit of one value: to another one, or to what a function makes of it."""

    def edit(root: dict[str, Any]) -> None:
        place: Any = target(root)
        place[key] = value(place[key]) if callable(value) else value

    return edit


def receipt_with(exchange: Exchange, number: int, key: PrivateKey | None = None, **update: Any) -> dict[str, Any]:
    """An inference receipt of the exchange, changed and signed anew."""
    mode = next(item for item in exchange.evidence.observations if item.mode == "served")
    receipt = InferenceReceipt.from_bytes(mode.receipts[number].envelope().payload)
    envelope = sign_document(receipt.model_copy(update=update), key or exchange.provider)
    return EnvelopeDocument.of(envelope).model_dump(mode="json")


def other_receipt(check: int, number: int = 0, key: PrivateKey | None = None, **update: Any) -> Cheat:
    def run(exchange: Exchange) -> Files:
        changed = receipt_with(exchange, number, key, **update)
        return forge(exchange, put(lambda b: served(b)["receipts"], number, changed))

    return Cheat(check, run)
