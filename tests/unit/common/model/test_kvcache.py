"""The renamed cache of transformers' outputs."""

from __future__ import annotations

from veritune.common.model.kvcache import cache_argument


def test_new_and_old_names() -> None:
    cache = object()
    assert cache_argument({"logits": 1, "cache": cache}) == {"cache": cache}
    assert cache_argument({"logits": 1, "past_key_values": cache}) == {"past_key_values": cache}
