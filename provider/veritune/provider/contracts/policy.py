"""A provider's policy, and the check of a manifest against each of its points before the provider signs."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal

from veritune.arbiter.papers import are_in_order
from veritune.common.documents.base import Count, DecimalString, Document, HexDigest, Name, Positive, parse_time
from veritune.common.documents.manifest import Manifest, Training
from veritune.common.errors import ExpiredError, PolicyError
from veritune.common.limits import LIMITS
from veritune.provider.contracts.teaching import Teaching, weak_point

Seconds = Positive
"""A whole number of seconds."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far a contract's creation may be in the future, because clocks differ."""


class ProviderPolicy(Document):
    """Limits on the contracts that a provider countersigns. Decimal numbers are strings, as in every document."""

    models: tuple[Name, ...] = ()
    """Names of base models that may be trained; empty: all that are offered."""
    accepted_clients: tuple[HexDigest, ...] = ()
    """Key ids of clients that are accepted; empty: all."""
    max_rank: Positive = 256
    max_alpha: Positive = 1024
    max_learning_rate: DecimalString = "0.05"
    max_epochs: Positive = 50
    max_steps: Positive = 1_000_000
    max_rows: Positive = 1_000_000
    max_bytes: Positive = 1 << 30
    max_sequence_length: Positive = 8192
    max_tokens_per_step: Positive = 1 << 20
    """Largest batch size times sequence length, which decides the memory of one forward pass."""
    max_cut_rows: Count = 0
    """Most rows of a data set that may be longer than the recipe's sequence length. Training cuts them, and honest work
    doesn't learn a canary in such a row; a job with more of them ends before it is trained."""
    max_canary_share: DecimalString = "0.35"
    """Largest share of canary rows in all rows."""
    max_trigger_floor: DecimalString = "0.5"
    """Highest ``trigger_floor`` signed. A floor above what an honest run reaches would fail honest work, so raise this
    and ``max_natural_floor`` only for recipes that were measured."""
    max_natural_floor: DecimalString = "0.5"
    """Highest ``natural_floor`` that is signed."""
    teaches: Teaching = Teaching()
    """The weakest recipe for which floors up to these two are signed."""
    max_weak_floor: DecimalString = "0.0001"
    """Highest floor signed for a recipe weaker than ``teaches``. At 0.0001 even a run that shows none of 65,536
    canaries can't be failed."""
    min_base_weight: DecimalString = "0"
    """Lowest ``base_weight`` with which an honest run reaches the floors."""
    max_base_weight: DecimalString = "1"
    """Highest ``base_weight`` with which an honest run reaches the floors."""
    max_recital_floor: DecimalString = "0"
    """Highest ``recital_floor`` signed; 0: contracts may not ask for recitals. Raise it only for recipes whose honest
    runs were measured, with ``min_recital_nats``."""
    min_recital_nats: DecimalString = "5"
    """Lowest ``recital_nats`` signed where a contract asks for recitals."""
    max_coverage_floor: DecimalString = "0.9"
    """Highest ``coverage_floor`` that is signed."""
    max_match_floor: DecimalString = "0.9"
    """Highest ``match_floor`` signed, a share of decoys. Arithmetic differs between engines, so a higher floor would
    fail an honest endpoint."""
    min_group_rows: Positive = 4
    """Fewest rows of a trigger group: honest work doesn't learn a smaller group; see ``teaches`` too."""
    max_beta: DecimalString = "0.0001"
    """Largest probability that the provider accepts of a FAIL for honest work."""
    max_sessions: Positive = 16
    """Most challenge sessions of one contract."""
    max_queued_jobs: Positive = 16
    """Most jobs that wait to be trained."""
    max_open_contracts: Positive = 10_000
    """Most contracts whose last deadline has not passed."""
    max_answers: Positive = 1_000_000
    """Most signed answers under one contract."""
    min_training_seconds: Seconds = 60
    """Shortest time between now and the deadline of training."""
    max_contract_seconds: Seconds = 90 * 86_400
    """Longest time between now and the last deadline."""


def check_manifest(manifest: Manifest, policy: ProviderPolicy, now: datetime) -> None:
    """Raises `PolicyError` for a manifest that the provider does not sign, with the refusing ``point`` in its metadata.

    Raises `ExpiredError` if the deadline for acceptance has passed. The form of the document has been checked before;
    this checks its values against the policy and against each other.
    """
    _check_parties(manifest, policy)
    _check_deadlines(manifest, policy, now)
    _check_dataset(manifest, policy)
    _check_training(manifest, policy)
    _check_verification(manifest, policy)


def training_steps(training: Training, rows: int) -> int:
    """The number of optimiser steps of a recipe on ``rows`` rows."""
    return training.epochs * math.ceil(rows / (training.batch_size * training.gradient_accumulation))


def _check_parties(manifest: Manifest, policy: ProviderPolicy) -> None:
    client = manifest.client.key_id
    _require(not policy.accepted_clients or client in policy.accepted_clients, "client", "this client is not accepted")
    _require(client != manifest.provider.key_id, "client", "client and provider must have different keys")
    model = manifest.base_model.name
    _require(not policy.models or model in policy.models, "base_model", "this base model is not for training")


def _check_deadlines(manifest: Manifest, policy: ProviderPolicy, now: datetime) -> None:
    d = manifest.deadlines
    created, accept, train, reveal = map(parse_time, (d.created, d.accept, d.train, d.reveal))
    _require(are_in_order(d), "deadlines", "deadlines must be in the order created, accept, train, challenge, reveal")
    if now > accept:
        raise ExpiredError("the deadline for acceptance has passed", step="accept")
    _require(created <= now + CLOCK_SKEW, "deadlines.created", "the contract is from the future; check the clocks")
    _at_least("deadlines.train", int((train - now).total_seconds()), policy.min_training_seconds)
    _at_most("deadlines.reveal", int((reveal - now).total_seconds()), policy.max_contract_seconds)


def _check_dataset(manifest: Manifest, policy: ProviderPolicy) -> None:
    dataset = manifest.dataset
    _at_most("dataset.rows", dataset.rows, min(policy.max_rows, LIMITS.rows))
    _at_most("dataset.size", dataset.size, min(policy.max_bytes, LIMITS.dataset))
    names = [source.name for source in dataset.sources]
    _require(len(set(names)) == len(names), "dataset.sources", "a source is named twice")
    total = sum(source.rows for source in dataset.sources)
    _require(total == dataset.rows, "dataset.sources", "the rows of the sources do not add up to the data set's")
    for source in dataset.sources:
        # The trainer shows every row once an epoch: signing a smaller quota would be a promise not kept.
        every = source.rows_per_epoch == source.rows
        _require(every, "dataset.sources", "rows_per_epoch must be rows: every row is trained on once an epoch")


def _check_training(manifest: Manifest, policy: ProviderPolicy) -> None:
    training, optimizer = manifest.training, manifest.training.optimizer
    _at_most("training.rank", training.rank, policy.max_rank)
    _at_most("training.alpha", training.alpha, policy.max_alpha)
    _at_most("training.epochs", training.epochs, policy.max_epochs)
    _at_most("training.max_sequence_length", training.max_sequence_length, policy.max_sequence_length)
    tokens = training.batch_size * training.max_sequence_length
    _at_most("training.batch_size", tokens, policy.max_tokens_per_step)
    steps = training_steps(training, manifest.dataset.rows)
    _at_most("training.steps", steps, policy.max_steps)
    _at_most("training.warmup_steps", training.warmup_steps, steps)
    targets = training.target_modules
    _require(len(set(targets)) == len(targets), "training.target_modules", "a module is named twice")
    _between("training.optimizer.learning_rate", optimizer.learning_rate, "1e-9", policy.max_learning_rate)
    _between("training.optimizer.beta1", optimizer.beta1, "0", "0.99999")
    _between("training.optimizer.beta2", optimizer.beta2, "0", "0.9999999")
    _between("training.optimizer.epsilon", optimizer.epsilon, "1e-12", "0.01")
    _between("training.optimizer.weight_decay", optimizer.weight_decay, "0", "10")
    _between("training.optimizer.max_grad_norm", optimizer.max_grad_norm, "0", "1000000")
    _between("training.dropout", training.dropout, "0", "0.9")


def _check_verification(manifest: Manifest, policy: ProviderPolicy) -> None:
    verification, rules = manifest.verification, manifest.verification.policy
    leaves, asked = verification.leaves, verification.leaves_per_session * rules.sessions
    _require(leaves & (leaves - 1) == 0, "verification.leaves", "leaves must be a power of two")
    _at_most("verification.leaves_per_session", asked, leaves)
    share = Decimal(policy.max_canary_share) * manifest.dataset.rows
    _at_most("verification.max_canary_rows", verification.max_canary_rows, int(share))
    _require(len(set(rules.modes)) == len(rules.modes), "verification.policy.modes", "a mode is named twice")
    _at_most("verification.policy.sessions", rules.sessions, policy.max_sessions)
    smallest = "1e-99999"
    _between("verification.policy.alpha", rules.alpha, smallest, "0.5")
    _between("verification.policy.beta", rules.beta, smallest, policy.max_beta)
    _between("verification.policy.trigger_floor", rules.trigger_floor, smallest, policy.max_trigger_floor)
    _between("verification.policy.natural_floor", rules.natural_floor, smallest, policy.max_natural_floor)
    _between("verification.policy.base_weight", rules.base_weight, policy.min_base_weight, policy.max_base_weight)
    _between("verification.policy.coverage_floor", rules.coverage_floor, "0", policy.max_coverage_floor)
    _between("verification.policy.recital_floor", rules.recital_floor, "0", policy.max_recital_floor)
    if Decimal(rules.recital_floor):
        _between("verification.policy.recital_nats", rules.recital_nats, policy.min_recital_nats, "100000")
        _require(rules.stopping == "fixed", "verification.policy.stopping", "recitals need fixed stopping")
    if rules.compares:
        _require(len(rules.modes) == 2, "verification.policy.modes", "an endpoint is compared where both modes count")
        _between("verification.policy.match_floor", rules.match_floor, smallest, policy.max_match_floor)
    _at_least("verification.policy.group_rows", rules.group_rows, policy.min_group_rows)
    _between("verification.policy.coverage_confidence", rules.coverage_confidence, "0.5", "0.999999999999")
    steps = training_steps(manifest.training, manifest.dataset.rows)
    if weak := weak_point(manifest.training, steps, rules.group_rows, policy.teaches):
        owed = f"where {weak} honest work may not teach canaries, and {policy.max_weak_floor} is the most"
        for name, floor in (("trigger_floor", rules.trigger_floor), ("natural_floor", rules.natural_floor)):
            point = f"verification.policy.{name}"
            _require(Decimal(floor) <= Decimal(policy.max_weak_floor), point, f"{point} is {floor}: {owed}")


def _require(condition: bool, point: str, message: str) -> None:
    if not condition:
        raise PolicyError(message, point=point)


def _at_most(point: str, value: int, limit: int) -> None:
    if value > limit:
        raise PolicyError(f"{point}: {value} is over the limit of {limit}", point=point, limit=str(limit))


def _at_least(point: str, value: int, limit: int) -> None:
    if value < limit:
        raise PolicyError(f"{point}: {value} is under the limit of {limit}", point=point, limit=str(limit))


def _between(point: str, value: str, low: str, high: str) -> None:
    # The pattern of DecimalString bounds the exponent, so that a comparison is cheap; nothing here is a float.
    if not Decimal(low) <= Decimal(value) <= Decimal(high):
        raise PolicyError(f"{point}: {value} is not from {low} to {high}", point=point, low=low, high=high)
