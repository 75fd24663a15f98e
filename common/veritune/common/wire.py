"""Conversions between generated protobuf messages and our own types; no other module of `common` imports stubs."""

from __future__ import annotations

from collections.abc import Iterable

from veritune.common.dataset import Message, check_chat
from veritune.common.envelope import Envelope, Signature
from veritune.common.errors import DatasetError, MalformedRequestError, TooLargeError
from veritune.common.limits import LIMITS
from veritune.v1 import envelope_pb2, inference_service_pb2


def envelope_to_wire(envelope: Envelope) -> envelope_pb2.Envelope:
    """The envelope as a protobuf message."""
    return envelope_pb2.Envelope(
        payload_type=envelope.payload_type,
        payload=envelope.payload,
        signatures=[envelope_pb2.Signature(key_id=s.key_id, sig=s.sig) for s in envelope.signatures],
    )


def envelope_from_wire(message: envelope_pb2.Envelope) -> Envelope:
    """The envelope in a protobuf message, its signatures not verified.

    Raises `MalformedDocumentError` or `TooLargeError`.
    """
    if len(message.signatures) > LIMITS.signatures:
        raise TooLargeError(f"an envelope carries more than {LIMITS.signatures} signatures")
    signatures = tuple(Signature(item.key_id, item.sig) for item in message.signatures)
    return Envelope(message.payload_type, message.payload, signatures)


def messages_to_wire(messages: Iterable[Message]) -> list[inference_service_pb2.Message]:
    """A chat as protobuf messages, one for each turn."""
    return [inference_service_pb2.Message(role=m.role, content=m.content) for m in messages]


def messages_from_wire(messages: Iterable[inference_service_pb2.Message]) -> tuple[Message, ...]:
    """The chat in protobuf messages, a user's turn at its end. Raises `MalformedRequestError` or `TooLargeError`."""
    items = list(messages)
    if len(items) > LIMITS.messages:
        raise TooLargeError(f"a chat of more than {LIMITS.messages} turns")
    if sum(len(item.content) for item in items) > LIMITS.prompt_characters:
        raise TooLargeError(f"a chat of more than {LIMITS.prompt_characters} characters")
    try:
        chat = tuple(Message.model_validate({"role": item.role, "content": item.content}) for item in items)
        check_chat(chat)
    except (ValueError, DatasetError) as error:
        raise MalformedRequestError("not a chat of known roles, taking turns, none of them empty") from error
    if chat[-1].role != "user":
        raise MalformedRequestError("the last turn must be the user's")
    return chat
