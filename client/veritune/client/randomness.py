"""The client's secret randomness: HMAC-SHA256 in counter mode under one master seed (SPEC section 4.5).

Whoever holds the seed can draw every canary again; to everybody else each stream is unpredictable, and streams
under different labels are independent (HMAC-SHA256 is taken to be a pseudo-random function).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from typing import TypeVar

SEED_BYTES = 32
"""Length of a master seed."""
_PREFIX = b"veritune/v1/stream/"

T = TypeVar("T")


def new_seed() -> bytes:
    """A fresh master seed: `SEED_BYTES` random bytes from the operating system."""
    return secrets.token_bytes(SEED_BYTES)


class SecretStream:
    """A deterministic stream of random bits, given by a master seed and a label.

    Block i is HMAC-SHA256(seed, prefix || label || 0x00 || i as 8 big-endian bytes). A label has no NUL, so no two
    labels share a block. A stream is not safe for use by several threads at once. Raises `ValueError` for a seed of
    another length and for a label that isn't plain ASCII.
    """

    def __init__(self, seed: bytes, label: str) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a master seed is {SEED_BYTES} bytes")
        if not label or "\x00" in label or not label.isascii():
            raise ValueError("a stream's label is plain ASCII text without NUL")
        self._seed = seed
        self._message = _PREFIX + label.encode("ascii") + b"\x00"
        self._counter = 0
        self._buffer = b""

    def bytes(self, n: int) -> bytes:
        """The next ``n`` bytes of the stream. Raises `ValueError` for a negative ``n``."""
        if n < 0:
            raise ValueError("a negative number of bytes")
        parts, have = [self._buffer], len(self._buffer)
        while have < n:
            block = hmac.digest(self._seed, self._message + self._counter.to_bytes(8, "big"), "sha256")
            self._counter += 1
            parts.append(block)
            have += len(block)
        joined = b"".join(parts)
        self._buffer = joined[n:]
        return joined[:n]

    def below(self, n: int) -> int:
        """A uniform integer in [0, n), without bias: numbers beyond it are rejected and drawn again.

        Raises `ValueError` for an ``n`` under 1.
        """
        if n < 1:
            raise ValueError("no integer is below 1")
        bits = (n - 1).bit_length()
        size = (bits + 7) // 8
        while True:
            value = int.from_bytes(self.bytes(size), "big") >> (8 * size - bits)
            if value < n:
                return value

    def uniform(self) -> float:
        """A uniform float in [0, 1), a multiple of 2**-53."""
        return self.below(1 << 53) * 2.0**-53

    def shuffle(self, items: list[T]) -> None:
        """Shuffles a list in place (Fisher-Yates); every order is equally likely."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]

    def sample(self, population: Sequence[T], k: int) -> list[T]:
        """``k`` members in random order, drawn without replacement.

        Raises `ValueError` for a negative ``k`` and for one above the population's size.
        """
        if not 0 <= k <= len(population):
            raise ValueError("a sample larger than its population")
        # A partial shuffle that remembers only the places it has moved: O(k) for any population.
        moved: dict[int, int] = {}
        chosen = []
        for last in range(len(population) - 1, len(population) - 1 - k, -1):
            other = self.below(last + 1)
            chosen.append(population[moved.get(other, other)])
            moved[other] = moved.get(last, last)
        return chosen
