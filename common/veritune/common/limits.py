"""Every size limit (SPEC section 3); each is checked before anything is parsed or stored."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """The largest sizes that are accepted, in bytes unless a field says otherwise."""

    document: int = MIB
    """Payload of one signed document."""
    envelope_json: int = 2 * MIB
    """One envelope as JSON (base64 adds a third)."""
    evidence: int = 64 * MIB
    """One evidence bundle as JSON."""
    json_depth: int = 32
    """Levels of nesting in any JSON input."""
    signatures: int = 4
    """Signatures an envelope may carry."""
    payload_type: int = 128
    """Characters of a payload type."""
    chunk: int = MIB
    """One piece of an upload or download."""
    dataset: int = 4096 * MIB
    """One data set as a file."""
    row: int = MIB
    """One row of a data set."""
    rows: int = 5_000_000
    """Rows of a data set."""
    messages: int = 128
    """Turns of one chat."""
    phrase: int = 4000
    """Characters of a trigger, a signature or a candidate answer; a longer answer is never reworded."""
    prompt_characters: int = 131_072
    """Characters of one chat."""
    completions: int = 256
    """Completions of one Score call."""
    max_tokens: int = 4096
    """Tokens one Generate call may ask for."""
    token: int = 8192
    """Characters of an access token."""
    artifact: int = 16384 * MIB
    """One file of an adapter, and all of its files together."""
    artifacts: int = 64
    """Files of one adapter."""
    leaves: int = 65_536
    """Leaves of a canary tree."""
    key_file: int = 16 * 1024
    """One key as a PEM file."""


LIMITS = Limits()
