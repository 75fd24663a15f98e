"""Checks (8) to (12) of the audit: the commitment, its openings and the canaries in them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from veritune.arbiter.audit.checks import Agreed, failing, require
from veritune.arbiter.documents.canary import (
    Chat,
    NaturalCanary,
    Rewording,
    TriggerCanary,
    canary_leaf,
    carries_trigger,
    is_natural_row,
    of_different_forms,
    with_trigger,
)
from veritune.arbiter.documents.evidence import Evidence, OpenedRow, Opening
from veritune.arbiter.selection import challenge_order, challenge_seed, session_leaves
from veritune.arbiter.statistics.exact import parse_decimal
from veritune.common.dataset import Row, check_chat
from veritune.common.merkle import MerkleTree, leaf_hash, verify_inclusion


def check_canaries(bundle: Evidence, agreed: Agreed) -> None:
    """Raises `AuditError` unless checks (8) to (12) pass."""
    with failing(8):  # (8)
        _check_commitment(bundle, agreed)
    with failing(9):  # (9)
        _check_order(bundle, agreed)
    with failing(10):  # (10)
        for opening in bundle.openings:
            leaf = canary_leaf(bytes.fromhex(opening.salt), opening.canary).hex()
            require(10, leaf == bundle.leaf_hashes[opening.leaf], f"leaf {opening.leaf} was opened as another canary")
    with failing(11):  # (11)
        _check_rows(bundle, agreed)
    with failing(12):  # (12)
        _check_forms(bundle, agreed)


def _check_commitment(bundle: Evidence, agreed: Agreed) -> None:
    terms, leaves = agreed.manifest.verification, bundle.leaf_hashes
    require(8, len(leaves) == terms.leaves, "the commitment does not have as many leaves as the contract says")
    require(8, terms.leaves & (terms.leaves - 1) == 0, "the number of leaves is no power of two")
    require(8, len(set(leaves)) == len(leaves), "two leaves are the same")
    root = MerkleTree([bytes.fromhex(leaf) for leaf in leaves]).root.hex()
    require(8, root == terms.canary_root, "the leaves do not give the contract's canary root")


def _check_order(bundle: Evidence, agreed: Agreed) -> None:
    terms = agreed.manifest.verification
    require(9, bundle.session <= terms.policy.sessions, "the contract does not allow as many sessions")
    order = challenge_order(challenge_seed(agreed.contract.digest, agreed.training.digest), bundle.leaf_hashes)
    expected = session_leaves(order, bundle.session, terms)
    opened = [opening.leaf for opening in bundle.openings]
    if terms.policy.stopping == "sequential":
        expected = expected[: len(opened)]  # a challenge may stop anywhere, and what it did not ask stays closed
    require(9, opened == expected, "the leaves opened are not the ones that the challenge's seed picks, in its order")


def _check_rows(bundle: Evidence, agreed: Agreed) -> None:
    taken: set[int] = set()
    for opening in bundle.openings:
        named, carries = _named_rows(opening)
        require(11, tuple(row.index for row in opening.rows) == named, f"leaf {opening.leaf}: not the rows it names")
        for opened in opening.rows:
            require(11, opened.index not in taken, f"row {opened.index} is named twice")
            taken.add(opened.index)
            _check_row(opened, agreed)
            require(11, carries(opened.row), f"row {opened.index} does not carry its canary")
        if isinstance(opening.canary, TriggerCanary):
            few = f"leaf {opening.leaf}: fewer rows carry the group than the contract says"
            require(11, len(named) >= agreed.manifest.verification.policy.group_rows, few)
    allowed = agreed.manifest.verification.max_canary_rows
    require(11, len(taken) <= allowed, f"{len(taken)} canary rows, where the contract allows {allowed}")


def _named_rows(opening: Opening) -> tuple[tuple[int, ...], Callable[[Row], bool]]:
    canary = opening.canary
    if isinstance(canary, TriggerCanary):
        return canary.rows, lambda row: carries_trigger(row, canary)
    if isinstance(canary, NaturalCanary):
        require(11, canary.truth < len(canary.candidates), f"leaf {opening.leaf}: no such candidate")
        return canary.rows, lambda row: is_natural_row(row, canary)
    return (), lambda row: False


def _check_row(opened: OpenedRow, agreed: Agreed) -> None:
    terms = agreed.manifest.dataset
    leaf = leaf_hash(opened.row.to_bytes())
    proof, root = [bytes.fromhex(step) for step in opened.proof], bytes.fromhex(terms.merkle_root)
    proven = verify_inclusion(leaf, opened.index, terms.rows, proof, root)
    require(11, proven, f"row {opened.index} does not stand in the data set")


def _check_forms(bundle: Evidence, agreed: Agreed) -> None:
    generators = {generator.digest for generator in bundle.generators}
    prompts = {opened.row.prompt for opening in bundle.openings for opened in opening.rows}
    groups = [opening.canary for opening in bundle.openings if isinstance(opening.canary, TriggerCanary)]
    naturals = [opening.canary for opening in bundle.openings if isinstance(opening.canary, NaturalCanary)]
    named = {canary.generator_digest for canary in groups} | {canary.generator_digest for canary in naturals}
    require(12, named <= generators, "a canary names a generator that is not in the evidence")
    rewordings = {generator.digest for generator in bundle.generators if isinstance(generator, Rewording)}
    signed = {canary.generator_digest for canary in groups}
    require(12, not signed & rewordings, "a trigger names a rewording, which draws no signatures")
    for group in groups:
        bits = sum((parse_decimal(text) for text in group.token_bits), Fraction(0))
        require(12, bits >= group.bits, "a signature's token bits do not add up to the bits claimed")
        require(12, all(parse_decimal(text) >= 0 for text in group.token_bits), "a token of negative bits")
        _check_held_out(group, agreed.manifest.verification.policy.queries_per_group, prompts)
    for natural in naturals:
        different = len(of_different_forms(natural.candidates)) == len(natural.candidates)
        require(12, different, "two candidates are the same to a model")
    for texts in ([group.trigger for group in groups], [group.signature for group in groups]):
        require(12, len(set(texts)) == len(texts), "two groups share a trigger or a signature")


def _check_held_out(group: TriggerCanary, queries: int, prompts: set[Chat]) -> None:
    require(12, len(group.held_out) >= queries, "a group has fewer held-out prompts than the contract has queries")
    require(12, len(set(group.held_out)) == len(group.held_out), "a held-out prompt stands twice in a group")
    for prompt in group.held_out:
        check_chat(prompt)
        require(12, prompt[-1].role == "user", "a held-out prompt does not end with the user's turn")
        asked = with_trigger(prompt, group.trigger)
        require(12, prompt not in prompts and asked not in prompts, "a held-out prompt stands in the data set")
