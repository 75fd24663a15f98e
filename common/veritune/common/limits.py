"""Every size limit, in one place (SPEC section 3). Checked before anything is parsed or stored."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bytes unless the name says otherwise."""

    document: int = MIB
    """One signed document."""
    envelope_json: int = 2 * MIB
    """One envelope as JSON (base64 adds a third)."""
    evidence: int = 64 * MIB
    """One evidence bundle."""
    json_depth: int = 32
    """Nesting of any JSON input."""
    signatures: int = 4
    """Signatures an envelope may carry."""
    payload_type: int = 128
    """Characters of a payload type."""
    chunk: int = MIB
    """One piece of an upload or download."""
    dataset: int = 4096 * MIB
    """One data set."""
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
    """One adapter file."""
    artifacts: int = 64
    """Files of one adapter."""
    leaves: int = 65_536
    """Leaves of a canary tree."""
    key_file: int = 16 * 1024
    """A PEM file."""


LIMITS = Limits()
