"""200 challenges of models that never saw the canaries: the p-values must be no smaller than uniform, and no PASS.

    python -m benchmarks.paper.null --sown gsm8k-300-0-SmolLM2-135M-Instruct --model MODEL_FOLDER

Kinds of model: the base model; adapters trained on the same rows without canaries (``calibrate --provider plain`` of
the same rows); adapters trained on other rows or another data set, with canaries of their own or without (every other
``plain`` and ``honest`` run of the same base model under ``.bench``). Every candidate of
every natural canary is scored by each. A challenge then draws the truths anew, which is just what the null hypothesis
calls random, and judges them under the demo's policy, with the answers that the model gave to the triggers. Writes
``benchmarks/results/null-NAME.json``; a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from scipy.stats import kstest

from benchmarks.paper import looking, machine, sets
from benchmarks.paper.calibrate import WORK, Layout, attach, checkpoints_of
from benchmarks.paper.demo_policy import DEMO
from benchmarks.paper.plots import save
from veritune.arbiter.documents.canary import NaturalCanary, TriggerCanary, shows_signature
from veritune.arbiter.measure.local_model import LocalModel
from veritune.arbiter.measure.questions import Question
from veritune.arbiter.statistics.influence import GroupResult, Ranked, influence_p, rank_of, rank_p
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import GroupLook, Look
from veritune.client.randomness import SecretStream
from veritune.common.documents.manifest import Training
from veritune.common.inference import format_logprob

CHALLENGES = 200
console = Console(highlight=False)


def main() -> int:
    """Returns 0 when no test speaks against the null calibration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sown", required=True, help="folder under .bench whose canaries are asked")
    parser.add_argument("--model", type=Path, required=True, help="folder of the base model")
    wanted = parser.parse_args()
    folder = WORK / wanted.sown
    layout = Layout.model_validate_json((folder / "sown.json").read_bytes())
    questions = looking.questions_of(layout.canaries, layout.rows, (), 1, layout.generators)
    started = time.monotonic()
    models: dict[str, dict[str, Any]] = {}
    for name, kind, adapter in null_models(wanted.sown, wanted.model.name):
        kept = folder / f"null-{name}.json"
        if not kept.exists():
            found = ask(wanted.model, adapter, folder / "null-adapter", layout, questions, folder / "base-scores.json")
            kept.write_text(json.dumps(found), encoding="utf-8")
        models[name] = {"kind": kind, **json.loads(kept.read_bytes())}
        console.print(f"asked {name}")
    challenges = list(draw(models, layout))
    result = {
        "sown": wanted.sown,
        "models": {name: found["kind"] for name, found in models.items()},
        "policy": DEMO.model_dump(mode="json"),
        **test(challenges),
        "challenges": challenges,
        "seconds": round(time.monotonic() - started),
        "machine": machine.describe("torch", "transformers", "peft", "scipy"),
    }
    target = sets.ROOT / "benchmarks" / "results" / f"null-{wanted.sown}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    picture(challenges, target.with_suffix(".svg"))
    console.print({key: result[key] for key in ("models", "verdicts", "smallest", "ks_p")})
    return 0 if result["verdicts"].get("PASS", 0) == 0 and result["ks_p"] >= 0.01 else 1


def picture(challenges: Sequence[dict[str, Any]], target: Path) -> None:
    """The share of p-values at most p, beside p itself: none may lie above by more than chance."""
    figure = Figure(figsize=(4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for name in ("p_ranks", "p_influence"):
        axes.ecdf([item[name] for item in challenges], label=name.replace("_", " of "))
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    axes.set(xlabel="p", ylabel="share of 200 challenges")
    axes.legend(fontsize=7)
    save(figure, target)


def null_models(sown: str, base: str) -> Iterator[tuple[str, str, Path | None]]:
    """Name, kind and last checkpoint of every model over ``base`` that never saw the canaries."""
    yield "base", "base model", None
    for run in sorted([*WORK.glob(f"*-{base}*/*-plain"), *WORK.glob(f"*-{base}*/*-honest")]):
        same = run.parent.name == sown
        if same and not run.name.endswith("-plain"):
            continue
        checkpoints = checkpoints_of(run)
        if checkpoints:
            yield run.name, _kind(sown, run.parent.name, same), checkpoints[-1]


def _kind(sown: str, other: str, same: bool) -> str:
    if same:
        return "same data without canaries"
    alike = sown.partition("-")[0] == other.partition("-")[0]
    return "other rows of the same data set" if alike else "other data"


def ask(
    base: Path, checkpoint: Path | None, adapter: Path, layout: Layout, questions: Sequence[Question], once: Path
) -> dict[str, Any]:
    """Of each natural canary tuned and base scores, as in evidence; of each group whether S came."""
    scored = looking.OnceScored(once)
    tuned = checkpoint is not None
    model = attach(base, Training(rank=32, alpha=64), checkpoint, adapter) if checkpoint else LocalModel(base)
    scored.model = model
    naturals: dict[str, list[list[str]]] = {}
    for item in questions:
        if item.kind == "natural":
            ours = model.scores(item.chat, item.completions, tuned=tuned)
            theirs = scored.scores(item.reference, item.completions, tuned=False)
            naturals[str(item.leaf)] = [[format_logprob(value) for value in scores] for scores in (ours, theirs)]
    asked = [item for item in questions if item.kind == "trigger" and item.held_out]
    answers = model.answers([item.chat for item in asked], 64, tuned=tuned)
    groups = {}
    for item, answer in zip(asked, answers, strict=True):
        canary = layout.canaries[item.leaf]
        assert isinstance(canary, TriggerCanary)  # noqa: S101
        groups[str(item.leaf)] = shows_signature(answer.text, canary.signature)
    return {"naturals": naturals, "groups": groups}


def draw(models: dict[str, dict[str, Any]], layout: Layout) -> Iterator[dict[str, Any]]:
    """`CHALLENGES` challenges, the models in turn; each draws the truth of every natural canary anew."""
    names = list(models)
    for number in range(CHALLENGES):
        name = names[number % len(names)]
        found = models[name]
        stream = SecretStream(hashlib.sha256(f"null/{number}".encode()).digest(), "truths")
        ranked = []
        for leaf, (tuned, base) in found["naturals"].items():
            canary = layout.canaries[int(leaf)]
            assert isinstance(canary, NaturalCanary)  # noqa: S101
            rank = rank_of(stream.below(len(base)), tuned, base, Fraction(DEMO.base_weight))
            ranked.append(Ranked(rank, len(base), len(canary.rows)))
        groups = [
            GroupResult(1, canary.bits, len(canary.signature), found["groups"][str(leaf)])
            for leaf, canary in enumerate(layout.canaries)
            if isinstance(canary, TriggerCanary)
        ]
        look = Look(
            mode="delivered",
            groups=tuple(GroupLook(g, int(g.found), 0, 0, True) for g in groups),
            naturals=tuple(ranked),
            decoys_asked=0,
            decoys_shown=0,
            missing=0,
        )
        judged = judge(DEMO, len(layout.rows), [look])
        yield {
            "model": name,
            "verdict": judged.verdict,
            "p_ranks": float(rank_p(ranked)),
            "p_influence": float(influence_p(groups, ranked)),
            "share_least": judged.modes[0].coverage.share_least,
        }


def test(challenges: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The verdicts, the smallest p-value, and the exact one-sided test that p-values are not smaller than uniform."""
    ranks = [item["p_ranks"] for item in challenges]
    both = [item["p_influence"] for item in challenges]
    return {
        "verdicts": dict(Counter(item["verdict"] for item in challenges)),
        "smallest": min(ranks),
        "below": {level: sum(p <= float(level) for p in ranks) for level in ("0.5", "0.1", "0.05", "0.01")},
        "ks_p": float(kstest(ranks, "uniform", alternative="greater", method="exact").pvalue),
        "ks_p_influence": float(kstest(both, "uniform", alternative="greater", method="exact").pvalue),
    }


if __name__ == "__main__":
    sys.exit(main())
