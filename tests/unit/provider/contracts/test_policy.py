"""Each point of the policy refuses by name, and a sound manifest passes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.daemon import lenient, make_deadlines, make_rows, manifest_for, quick_training
from tests.support.errors import fails
from veritune.arbiter.statistics.influence import GroupResult, Ranked
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.common.documents.manifest import Manifest, Optimizer, Policy, Source, Verification
from veritune.common.errors import ExpiredError, PolicyError
from veritune.common.keys import PrivateKey
from veritune.common.limits import LIMITS
from veritune.provider.contracts.policy import ProviderPolicy, check_manifest, training_steps
from veritune.provider.contracts.teaching import Teaching

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
CLIENT, PROVIDER = PrivateKey.generate().public, PrivateKey.generate().public


def manifest(**changes: Any) -> Manifest:
    fields: dict[str, Any] = {"deadlines": make_deadlines(NOW)} | changes
    return manifest_for(CLIENT, PROVIDER, "tiny", "2" * 64, make_rows(20), **fields)


def verification(**changes: Any) -> Verification:
    fields: dict[str, Any] = {
        "canary_root": "1" * 64,
        "leaves": 16,
        "leaves_per_session": 8,
        "max_canary_rows": 4,
        "policy": lenient(),
    }
    return Verification(**(fields | changes))


def test_a_sound_manifest_passes() -> None:
    check_manifest(manifest(), ProviderPolicy(), NOW)


def test_steps_are_counted_as_the_trainer_takes_them() -> None:
    assert training_steps(quick_training(batch_size=3, epochs=5), manifest().dataset.rows) == 5 * 7


@pytest.mark.parametrize(
    ("point", "changes"),
    [
        ("training.rank", {"training": quick_training(rank=257)}),
        ("training.alpha", {"training": quick_training(alpha=2000)}),
        ("training.epochs", {"training": quick_training(epochs=51)}),
        ("training.max_sequence_length", {"training": quick_training(max_sequence_length=8193)}),
        ("training.batch_size", {"training": quick_training(batch_size=4096, max_sequence_length=512)}),
        ("training.warmup_steps", {"training": quick_training(warmup_steps=1000)}),
        ("training.target_modules", {"training": quick_training(target_modules=("q_proj", "q_proj"))}),
        ("training.dropout", {"training": quick_training(dropout="1")}),
        ("training.optimizer.learning_rate", {"training": quick_training(optimizer=Optimizer(learning_rate="0"))}),
        ("training.optimizer.learning_rate", {"training": quick_training(optimizer=Optimizer(learning_rate="1e999"))}),
        ("training.optimizer.beta1", {"training": quick_training(optimizer=Optimizer(beta1="1"))}),
        ("training.optimizer.beta2", {"training": quick_training(optimizer=Optimizer(beta2="-0.5"))}),
        ("training.optimizer.epsilon", {"training": quick_training(optimizer=Optimizer(epsilon="0"))}),
        ("training.optimizer.weight_decay", {"training": quick_training(optimizer=Optimizer(weight_decay="-1"))}),
        ("training.optimizer.max_grad_norm", {"training": quick_training(optimizer=Optimizer(max_grad_norm="-1"))}),
        ("verification.leaves", {"verification": verification(leaves=17)}),
        ("verification.leaves_per_session", {"verification": verification(leaves_per_session=17)}),
        ("verification.leaves_per_session", {"verification": verification(policy=Policy(sessions=3))}),
        ("verification.max_canary_rows", {"verification": verification(max_canary_rows=8)}),
        ("verification.policy.modes", {"verification": verification(policy=Policy(modes=("served", "served")))}),
        ("verification.policy.alpha", {"verification": verification(policy=Policy(alpha="0"))}),
        ("verification.policy.beta", {"verification": verification(policy=Policy(beta="0.0002"))}),
        ("verification.policy.trigger_floor", {"verification": verification(policy=Policy(trigger_floor="0.75"))}),
        ("verification.policy.natural_floor", {"verification": verification(policy=Policy(natural_floor="0.75"))}),
        ("verification.policy.coverage_floor", {"verification": verification(policy=Policy(coverage_floor="0.99"))}),
        ("verification.policy.group_rows", {"verification": verification(policy=Policy(group_rows=3))}),
        ("verification.policy.recital_floor", {"verification": verification(policy=Policy(recital_floor="0.1"))}),
        (
            "verification.policy.modes",
            {"verification": verification(policy=Policy(served_assumption="decoys-unrecognised"))},
        ),
        (
            "verification.policy.match_floor",
            {
                "verification": verification(
                    policy=Policy(
                        served_assumption="decoys-unrecognised", modes=("delivered", "served"), match_floor="0.95"
                    )
                )
            },
        ),
        (
            "verification.policy.coverage_confidence",
            {"verification": verification(policy=Policy(coverage_confidence="1"))},
        ),
        ("deadlines", {"deadlines": make_deadlines(NOW, train=0.5)}),
        ("deadlines", {"deadlines": make_deadlines(NOW, reveal=2.5)}),
        ("deadlines.created", {"deadlines": make_deadlines(NOW, created=0.5)}),
        ("deadlines.train", {"deadlines": make_deadlines(NOW, accept=0.001, train=0.002)}),
        ("deadlines.reveal", {"deadlines": make_deadlines(NOW, reveal=24 * 365)}),
    ],
)
def test_each_point_refuses(point: str, changes: dict[str, Any]) -> None:
    with fails(PolicyError, point=point):
        check_manifest(manifest(**changes), ProviderPolicy(), NOW)


@pytest.mark.parametrize(
    ("point", "limits"),
    [
        ("client", {"accepted_clients": ("0" * 64,)}),
        ("base_model", {"models": ("another",)}),
        ("dataset.rows", {"max_rows": 19}),
        ("verification.policy.base_weight", {"min_base_weight": "0.5"}),
        ("verification.policy.base_weight", {"max_base_weight": "0.2"}),
        ("dataset.size", {"max_bytes": 100}),
        ("training.steps", {"max_steps": 9}),
        ("verification.max_canary_rows", {"max_canary_share": "0.04"}),
    ],
)
def test_a_provider_may_be_stricter(point: str, limits: dict[str, Any]) -> None:
    with fails(PolicyError, point=point):
        check_manifest(manifest(), ProviderPolicy(**limits), NOW)


STRONG: dict[str, Any] = {"epochs": 24, "rank": 8, "alpha": 16}
"""5 steps an epoch, and a learning rate of 0.002."""


def strong(**changes: Any) -> Manifest:
    training = quick_training(**{**STRONG, **changes})
    return manifest(training=training, verification=verification(policy=Policy(group_rows=8)))


def test_floors_are_owed_by_a_recipe_that_teaches() -> None:
    check_manifest(strong(), ProviderPolicy(), NOW)


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("training.epochs is under 6", {"epochs": 5}),
        ("training.steps is under 120", {"epochs": 23}),
        ("training.steps is under 120", {"gradient_accumulation": 2}),
        ("training.warmup_steps is more than half", {"warmup_steps": 61}),
        ("training.rank is under 8", {"rank": 7, "alpha": 14}),
        ("alpha / rank is under 0.004", {"alpha": 15}),
        ("alpha / rank is under 0.004", {"optimizer": Optimizer(learning_rate="0.0009")}),
        ("training.target_modules leaves out", {"target_modules": ("q_proj", "v_proj")}),
        ("training.dropout is over 0.3", {"dropout": "0.31"}),
        ("weight_decay is over 0.1", {"optimizer": Optimizer(learning_rate="0.002", weight_decay="0.2")}),
        ("epsilon is over", {"optimizer": Optimizer(learning_rate="0.002", epsilon="0.0001")}),
        ("max_grad_norm is under 0.1", {"optimizer": Optimizer(learning_rate="0.002", max_grad_norm="0.01")}),
        ("beta1 or beta2", {"optimizer": Optimizer(learning_rate="0.002", beta1="0.99")}),
        ("beta1 or beta2", {"optimizer": Optimizer(learning_rate="0.002", beta2="0")}),
    ],
)
def test_nobody_signs_to_be_failed_for_a_recipe_that_may_not_teach(why: str, changes: dict[str, Any]) -> None:
    """A client writes the recipe, and could write one by which honest work learns no canary."""
    with fails(PolicyError, match=re.escape(why), point="verification.policy.trigger_floor") as caught:
        check_manifest(strong(**changes), ProviderPolicy(), NOW)
    assert str(caught.value).endswith("0.0001 is the most")
    harmless = strong(**changes).model_copy(update={"verification": verification()})
    check_manifest(harmless, ProviderPolicy(), NOW)


def test_small_groups_may_not_be_learnt() -> None:
    asked = strong().model_copy(update={"verification": verification(policy=Policy(group_rows=7))})
    with fails(PolicyError, match=re.escape("policy.group_rows is under 8"), point="verification.policy.trigger_floor"):
        check_manifest(asked, ProviderPolicy(), NOW)


def test_each_floor_counts_and_the_provider_says_what_teaches() -> None:
    weak = quick_training()
    for name in ("trigger_floor", "natural_floor"):
        asked = manifest(training=weak, verification=verification(policy=lenient(**{name: "0.01"})))
        with fails(PolicyError, point=f"verification.policy.{name}"):
            check_manifest(asked, ProviderPolicy(), NOW)
        check_manifest(asked, ProviderPolicy(max_weak_floor="0.01"), NOW)
        check_manifest(asked, ProviderPolicy(teaches=Teaching(epochs=2, steps=10, group_rows=4, rank=4)), NOW)


def test_such_floors_fail_nobody() -> None:
    """Not even a model that shows nothing, of as many canaries as a plan may sow."""
    groups = (GroupLook(GroupResult(2, 64, 1, False), 0, 2, 0, certified=True),) * 64
    naturals = (Ranked(2, 256, 1),) * 16_384
    look = Look("delivered", groups, naturals, decoys_asked=0, decoys_shown=0, missing=0)
    terms = lenient(beta=ProviderPolicy().max_beta)
    assert judge(terms, 100_000, [look]).verdict == "INCONCLUSIVE"
    assert judge(Policy(beta=terms.beta), 100_000, [look]).verdict == "FAIL"
    floor, most = Decimal(ProviderPolicy().max_weak_floor), LIMITS.leaves
    assert (1 - floor) ** most > Decimal(terms.beta)


def test_a_client_on_the_list_is_accepted() -> None:
    check_manifest(manifest(), ProviderPolicy(accepted_clients=(CLIENT.key_id,), models=("tiny",)), NOW)


def test_one_key_can_not_be_both_parties() -> None:
    with fails(PolicyError, point="client"):
        check_manifest(
            manifest_for(CLIENT, CLIENT, "tiny", "2" * 64, make_rows(20), deadlines=make_deadlines(NOW)),
            ProviderPolicy(),
            NOW,
        )


@pytest.mark.parametrize(
    "sources",
    [
        [("user", 19, 19)],
        [("user", 10, 10), ("user", 10, 10)],
        [("user", 20, 10)],
        [("user", 21, 20)],
    ],
)
def test_sources_must_add_up_and_be_used_whole(sources: list[tuple[str, int, int]]) -> None:
    sound = manifest()
    items = tuple(Source(name=n, licence="CC0-1.0", rows=r, rows_per_epoch=e) for n, r, e in sources)
    dataset = sound.dataset.model_copy(update={"sources": items})
    with fails(PolicyError, point="dataset.sources"):
        check_manifest(manifest(dataset=dataset), ProviderPolicy(), NOW)


def test_acceptance_ends_at_its_deadline() -> None:
    late = manifest()
    check_manifest(late, ProviderPolicy(), NOW + timedelta(hours=1))
    with pytest.raises(ExpiredError) as caught:
        check_manifest(late, ProviderPolicy(), NOW + timedelta(hours=1, seconds=1))
    assert caught.value.metadata == {"step": "accept"}


@pytest.mark.parametrize("text", ["1.5", "-0.25", "0.00001", "1e-1", "01", "1.0", ""])
def test_a_base_weight_is_a_share_of_few_decimals(text: str) -> None:
    with pytest.raises(ValidationError):
        Policy(base_weight=text)


@pytest.mark.parametrize(
    ("point", "changes"),
    [
        ("verification.policy.recital_floor", {"recital_floor": "0.9"}),
        ("verification.policy.recital_nats", {"recital_floor": "0.8", "recital_nats": "2.9"}),
        ("verification.policy.stopping", {"recital_floor": "0.8", "stopping": "sequential"}),
    ],
)
def test_recitals_are_owed_within_what_was_measured(point: str, changes: dict[str, Any]) -> None:
    allowing = ProviderPolicy(max_recital_floor="0.8", min_recital_nats="3")
    terms = lenient(recital_floor="0.8", recital_nats="3")
    check_manifest(manifest(verification=verification(policy=terms)), allowing, NOW)
    with fails(PolicyError, point=point):
        check_manifest(manifest(verification=verification(policy=terms.model_copy(update=changes))), allowing, NOW)
