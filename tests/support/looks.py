"""What a challenge may have found, in numbers, and the verdict on it."""

from __future__ import annotations

from veritune.arbiter.documents.judgement import Mode
from veritune.arbiter.statistics.influence import GroupResult, Ranked
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.common.documents.manifest import Policy

ROWS = 600


def look(
    found: int = 4,
    groups: int = 4,
    hits: int = 40,
    naturals: int = 40,
    *,
    mode: Mode = "delivered",
    missing: int = 0,
    certified: bool = True,
    candidates: int = 16,
) -> Look:
    group_looks = tuple(
        GroupLook(
            group=GroupResult(queries=2, bits=64, signature_length=120, found=index < found),
            held_out_shown=2 * (index < found),
            in_data_asked=8,
            in_data_shown=8 * (index < found),
            certified=certified,
        )
        for index in range(groups)
    )
    ranked = tuple(Ranked(1 if index < hits else candidates, candidates) for index in range(naturals))
    return Look(mode, group_looks, ranked, decoys_asked=8, decoys_shown=0, missing=missing)


def verdict(policy: Policy, *looks: Look) -> str:
    return judge(policy, ROWS, looks).verdict


def codes(policy: Policy, *looks: Look) -> set[str]:
    return {reason.code for reason in judge(policy, ROWS, looks).reasons}
