"""The client's randomness: exact, unbiased and the same everywhere."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veritune.client.randomness import SecretStream, new_seed

SEED = bytes(range(32))


def test_blocks_are_hmac_of_label_and_counter() -> None:
    expected = b"".join(
        hmac.new(SEED, b"veritune/v1/stream/leaf-order\x00" + i.to_bytes(8, "big"), hashlib.sha256).digest()
        for i in range(3)
    )
    stream = SecretStream(SEED, "leaf-order")
    assert stream.bytes(1) + stream.bytes(40) + stream.bytes(0) + stream.bytes(55) == expected


def test_vectors() -> None:
    """Fixed answers, so that a change of any rule shows: another client must draw the same."""
    stream = SecretStream(SEED, "vector")
    assert stream.bytes(8).hex() == "08d8f3f270d14059"
    assert [stream.below(n) for n in (1, 2, 10, 1000, 2**32, 2**64 + 1)] == [
        0,
        1,
        9,
        140,
        2263231950,
        700510271357548801,
    ]
    assert stream.uniform() == float.fromhex("0x1.aca8e726deb72p-2")
    items = list(range(10))
    stream.shuffle(items)
    assert items == [1, 2, 7, 5, 6, 3, 0, 8, 4, 9]
    assert stream.sample(range(100), 5) == [14, 95, 83, 46, 10]


def test_labels_and_seeds_give_other_streams() -> None:
    streams = [SecretStream(seed, label) for seed in (SEED, bytes(32)) for label in ("a", "b", "a/1")]
    assert len({stream.bytes(32) for stream in streams}) == len(streams)
    assert len(new_seed()) == 32
    assert new_seed() != new_seed()


@pytest.mark.parametrize("label", ["", "a\x00", "é"])
def test_refuses_labels_that_might_collide(label: str) -> None:
    with pytest.raises(ValueError, match="label"):
        SecretStream(SEED, label)


def test_refuses_a_short_seed() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SecretStream(b"short", "a")


@given(st.binary(min_size=32, max_size=32), st.integers(1, 2**70))
def test_below_stays_below(seed: bytes, n: int) -> None:
    stream = SecretStream(seed, "below")
    assert all(0 <= stream.below(n) < n for _ in range(4))


@pytest.mark.parametrize("n", [3, 5, 6, 10])
def test_below_is_even(n: int) -> None:
    """Chi-square against uniform; 40 is beyond the 99.999 % point for nine degrees of freedom (39.3 at 1e-5)."""
    draws, stream = 20_000, SecretStream(SEED, f"even/{n}")
    counts = Counter(stream.below(n) for _ in range(draws))
    assert sum((counts[v] - draws / n) ** 2 / (draws / n) for v in range(n)) < 40


@given(st.binary(min_size=32, max_size=32))
def test_uniform_is_a_fraction_of_53_bits(seed: bytes) -> None:
    value = SecretStream(seed, "uniform").uniform()
    assert 0 <= value < 1
    assert (value * 2**53).is_integer()


@given(st.lists(st.integers(), max_size=50), st.data())
def test_shuffle_and_sample_keep_what_they_are_given(items: list[int], data: st.DataObject) -> None:
    stream = SecretStream(SEED, "keep")
    shuffled = list(items)
    stream.shuffle(shuffled)
    assert sorted(shuffled) == sorted(items)
    k = data.draw(st.integers(0, len(items)))
    places = stream.sample(range(len(items)), k)
    assert len(set(places)) == k
    with pytest.raises(ValueError, match="larger"):
        stream.sample(items, len(items) + 1)


def test_every_order_comes_equally_often() -> None:
    stream, seen = SecretStream(SEED, "orders"), Counter[tuple[int, ...]]()
    for _ in range(6000):
        items = [0, 1, 2]
        stream.shuffle(items)
        seen[tuple(items)] += 1
        seen[tuple(stream.sample(range(3), 3))] += 1
    assert len(seen) == 6
    assert all(1800 < count < 2200 for count in seen.values())


def test_refuses_nonsense() -> None:
    stream = SecretStream(SEED, "a")
    with pytest.raises(ValueError, match="below 1"):
        stream.below(0)
    with pytest.raises(ValueError, match="negative"):
        stream.bytes(-1)
