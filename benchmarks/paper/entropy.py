"""Ways to buy a signature's bits: what they cost in tokens, and how easily simple detectors find what was sown.

    python -m benchmarks.paper.entropy --model MODEL_FOLDER            # the whole grid: hours on two cores
    python -m benchmarks.paper.entropy --model MODEL_FOLDER --small    # a dozen settings, a few minutes
    python -m benchmarks.paper.entropy --table                         # the table and the plot from what is there

Each setting draws signatures of 64 certified bits (docs/statistics.md, section 2) behind the same prompts, sows each
into eight rows as `veritune prepare` would, and lets three detectors rank the rows of the data set. A setting that is
in ``benchmarks/results/entropy.json`` already is not measured again, unless ``--fresh``. Without ``--model`` the
example's model is made under ``.demo/models``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.files import put_between
from benchmarks.paper import machine, sets
from veritune.arbiter.documents.canary import with_signature, with_trigger
from veritune.client.data.text_features import odd_share
from veritune.client.generation.local_generator import TransformersGenerator
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.randomness import SecretStream
from veritune.client.redteam.scoring import Roc
from veritune.common.dataset import Message, Row

RESULTS = sets.ROOT / "benchmarks" / "results"
TARGET = RESULTS / "entropy.json"
DOCUMENT = sets.ROOT / "docs" / "results.md"
BEGIN, END = "<!-- entropy: begin -->", "<!-- entropy: end -->"
BITS = 64
ROWS_PER_GROUP = 8
START_TOKENS = 32
"""The beginning of an answer on which the base model's surprise is measured."""
KGRAM = 32
"""Characters of a beginning that is counted over the data set."""
DETECTORS = ("surprise", "odd", "repeats")
Setting = dict[str, str]


def main() -> int:
    """Measures what is missing; writes JSON, plot and table. Returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the base model")
    parser.add_argument("--small", action="store_true", help="vary one number at a time")
    parser.add_argument("--data", nargs="+", choices=("tickets", "gsm8k"), default=("tickets", "gsm8k"))
    parser.add_argument("--rows", type=int, default=300, help="plain rows of each data set")
    parser.add_argument("--groups", type=int, default=4, help="signatures of each setting")
    parser.add_argument("--fresh", action="store_true", help="measure again what is in the JSON")
    parser.add_argument("--table", action="store_true", help="only write table and plot")
    wanted = parser.parse_args()
    found: dict[str, Any] = json.loads(TARGET.read_bytes()) if TARGET.exists() else {"settings": []}
    if not wanted.table:
        measure_all(wanted, found)
    publish(found)
    return 0


def measure_all(wanted: argparse.Namespace, found: dict[str, Any]) -> None:
    """Adds every missing setting to ``found`` and saves it after each."""
    folder = wanted.model or _example_model()
    present = [name for name in wanted.data if name == "tickets" or (sets.DATA / f"{name}-train.jsonl").exists()]
    common = {"model": folder.name, "rows": wanted.rows, "groups": wanted.groups}
    generator, detector = TransformersGenerator(folder, threads=1), Surprise(folder)
    for name in present:
        sowing: Sowing | None = None
        for setting in grid(wanted.small):
            key = {"data": name, **common, **setting}
            old = [entry for entry in found["settings"] if entry.items() >= key.items()]
            if old and not wanted.fresh:
                continue
            sowing = sowing or Sowing(name, wanted.rows, wanted.groups, generator, detector)
            entry = {**key, **sowing.measure(setting), "machine": machine.describe("torch", "transformers")}
            found["settings"] = [e for e in found["settings"] if e not in old] + [entry]
            TARGET.parent.mkdir(parents=True, exist_ok=True)
            draft = TARGET.with_suffix(".new")
            draft.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
            draft.rename(TARGET)
            print(name, way(entry), f"{entry['seconds']} s", entry["example"][:70], flush=True)


def grid(small: bool) -> Iterator[Setting]:
    """The settings; the small grid goes from the default along one axis at a time."""
    temperatures, caps, tops = ("1", "1.2", "1.5", "2"), ("0.5", "0.25", "0.125", "0.0625", "0.03125"), ("0.9", "1")
    if small:
        default = {"method": "tokens", "temperature": "1.2", "cap": "0.25", "top_p": "1"}
        yield default
        yield from ({**default, "temperature": value} for value in temperatures if value != default["temperature"])
        yield from ({**default, "cap": value} for value in caps if value != default["cap"])
        yield from ({**default, "top_p": value} for value in ("0.9", "0.95"))
    else:
        for temperature in temperatures:
            for cap in caps:
                for top_p in (*tops, "0.95"):
                    yield {"method": "tokens", "temperature": temperature, "cap": cap, "top_p": top_p}
    for cap in ("0.125", "0.0625", "0.03125"):
        yield {"method": "choice", "temperature": "1", "cap": cap, "top_p": "1"}


class Surprise:
    """The first detector: nats per token of an answer's beginning, under the base model behind the row's prompt."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()

    def of(self, row: Row) -> float:
        """Mean surprise of at most `START_TOKENS` tokens."""
        import torch

        turns = [{"role": message.role, "content": message.content} for message in row.prompt]
        text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        prompt = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        answer = self._tokenizer(row.completion, add_special_tokens=False)["input_ids"][:START_TOKENS]
        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([prompt + answer]), logits_to_keep=len(answer) + 1).logits[0]
        scores = logits[:-1].float().log_softmax(-1).gather(-1, torch.tensor(answer)[:, None])
        return -float(scores.mean())


class Sowing:
    """One data set, its plain rows and the triggers of its groups, which no setting changes."""

    def __init__(self, name: str, rows: int, groups: int, generator: TransformersGenerator, detector: Surprise) -> None:
        self._name, self._generator, self._detector = name, generator, detector
        self._plain = sets.load(name, rows, 0)
        self._seed = hashlib.sha256(f"veritune-bench/entropy/{name}".encode()).digest()
        self._prompt = generator.write_prompt(self._plain[:24])
        plan = CanaryPlan(signature_bits=BITS)
        streams = [SecretStream(self._seed, f"trigger/{group}") for group in range(groups)]
        self._triggers = [generator.trigger(self._prompt, plan, stream) for stream in streams]
        draw = random.Random(f"veritune-bench/entropy/{name}")  # noqa: S311 - a sample, no secret
        self._hosts = [draw.sample(self._plain, ROWS_PER_GROUP) for _ in range(groups)]
        self._surprise = [detector.of(row) for row in self._plain]

    def measure(self, setting: Setting) -> dict[str, Any]:
        """Costs of the setting's signatures, and AUC and recall of each detector."""
        plan = CanaryPlan.model_validate({"signature_bits": BITS, **setting})
        started = time.monotonic()
        streams = [SecretStream(self._seed, f"signature/{group}") for group in range(len(self._triggers))]
        signatures = [self._generator.signature(self._prompt, plan, stream) for stream in streams]
        seconds = (time.monotonic() - started) / len(signatures)
        sown = [
            sown_row(host, trigger, signature.text)
            for trigger, signature, hosts in zip(self._triggers, signatures, self._hosts, strict=True)
            for host in hosts
        ]
        tokens = sum(len(signature.token_bits) for signature in signatures)
        bits = math.fsum(float(value) for signature in signatures for value in signature.token_bits)
        return {
            "bits_per_token": round(bits / tokens, 3),
            "tokens": round(tokens / len(signatures), 1),
            "characters": round(sum(len(signature.text) for signature in signatures) / len(signatures), 1),
            "detectors": self._detect(sown),
            "seconds": round(seconds, 1),
            "example": signatures[0].text,
        }

    def _detect(self, sown: Sequence[Row]) -> dict[str, dict[str, float]]:
        rows = [*self._plain, *sown]
        surprise = [*self._surprise, *(self._detector.of(row) for row in sown)]
        scores = {
            "surprise": surprise,
            "odd": [odd_share(row.completion) for row in rows],
            "repeats": repeats([row.completion for row in rows]),
        }
        plain = len(self._plain)
        return {name: detected(values[:plain], values[plain:]) for name, values in scores.items()}


def sown_row(host: Row, trigger: str, signature: str) -> Row:
    """A copy of a row with T behind its prompt and S before its answer."""
    answer = Message(role="assistant", content=with_signature(host.completion, signature))
    return Row(messages=(*with_trigger(host.prompt, trigger), answer), source=host.source)


def repeats(texts: Sequence[str]) -> list[float]:
    """Of each text, how many begin with the same `KGRAM` characters."""
    counts = Counter(text[:KGRAM] for text in texts)
    return [float(counts[text[:KGRAM]]) for text in texts]


def detected(plain: Sequence[float], sown: Sequence[float]) -> dict[str, float]:
    """Area under the curve, and recall at a false alarm in at most 1 % of the plain rows.

    Of both directions the one that finds more: whoever looks may know that sown rows are the odd ones or the plain.
    """
    up, down = _one_way(plain, sown), _one_way([-value for value in plain], [-value for value in sown])
    return {"auc": max(up[0], down[0]), "recall": max(up[1], down[1])}


def _one_way(plain: Sequence[float], sown: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(plain)
    threshold = ordered[-1 - len(ordered) // 100]  # this many plain rows may lie above it
    recall = sum(value > threshold for value in sown) / len(sown)
    return round(Roc.of(plain, sown).area, 4), round(recall, 4)


def way(entry: dict[str, Any]) -> str:
    """A setting in a few words."""
    if entry["method"] == "choice":
        return f"choice among {math.ceil(1 / float(entry['cap']))} phrases"
    nucleus = "" if entry["top_p"] == "1" else f", nucleus {entry['top_p']}"
    return f"temperature {entry['temperature']}, cap 1/{round(1 / float(entry['cap']))}{nucleus}"


def publish(found: dict[str, Any]) -> None:
    """The table between the marks in docs/results.md, where they are, and on the screen; and the plot."""
    entries = sorted(found["settings"], key=lambda e: (e["data"], e["method"] != "tokens", -e["bits_per_token"]))
    text = "\n".join(table(entries))
    print(text)
    whole = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    if BEGIN in whole and END in whole:
        put_between(DOCUMENT, BEGIN, END, text)
    if entries:
        draw(entries)


def table(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown, line by line."""
    yield "| data | way | bits per token | tokens | characters | surprise | odd characters | repeated beginnings |"
    yield "|---|---|---|---|---|---|---|---|"
    for entry in entries:
        cells = [_both(entry["detectors"][name]) for name in DETECTORS]
        costs = [f"{entry['bits_per_token']:.2f}", f"{entry['tokens']:.0f}", f"{entry['characters']:.0f}"]
        yield "| " + " | ".join((entry["data"], way(entry), *costs, *cells)) + " |"


def _both(found: dict[str, float]) -> str:
    return f"{found['auc']:.2f}, {100 * found['recall']:.0f} %"


def draw(entries: Sequence[dict[str, Any]]) -> None:
    """Bits per token against the first two detectors, one panel each; one colour a way, one marker a data set."""
    from matplotlib.figure import Figure

    from benchmarks.paper.plots import save

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    titles = {"surprise": "surprise of the beginning", "odd": "odd characters"}
    for place, (name, title) in enumerate(titles.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        for data, marker in zip(sorted({entry["data"] for entry in entries}), "os^", strict=False):
            for method, colour in (("tokens", "tab:blue"), ("choice", "tab:orange")):
                chosen = [e for e in entries if e["data"] == data and e["method"] == method]
                axes.scatter(
                    [entry["bits_per_token"] for entry in chosen],
                    [entry["detectors"][name]["auc"] for entry in chosen],
                    marker=marker,
                    color=colour,
                    label=f"{data}, {method}",
                )
        axes.set(title=title, xlabel="certified bits per token", ylabel="AUC of the detector", ylim=(0.45, 1.03))
        axes.legend(fontsize=7)
    save(figure, RESULTS / "entropy.svg")


def _example_model() -> Path:
    from examples.smollm2 import MODEL_NAME, convert, find_gguf

    return convert(find_gguf(), sets.ROOT / ".demo" / "models" / MODEL_NAME)


if __name__ == "__main__":
    sys.exit(main())
