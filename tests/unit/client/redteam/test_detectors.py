"""Detectors find what is plainly planted, and no rows make them stumble."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.errors import fails
from tests.support.red_team_rows import ODD, SIGNATURE, TRIGGER, plain_rows, planted, row
from veritune.client.data.text_features import odd_share
from veritune.client.errors import MissingExtraError
from veritune.client.generation.fitting import FittingRow, with_fitted_adapter
from veritune.client.redteam.detectors.asked import AskedDetector, named, question
from veritune.client.redteam.detectors.base_model import BaseModel
from veritune.client.redteam.detectors.clusters import Clusters, Neighbours
from veritune.client.redteam.detectors.detector import Detector, finite
from veritune.client.redteam.detectors.gradients import GradientEntropy, GradientNeighbours, _entropy, _singular_values
from veritune.client.redteam.detectors.kgrams import RepeatedPhrases
from veritune.client.redteam.detectors.loss_drop import LossDrop
from veritune.client.redteam.detectors.missing_parts import MissingParts
from veritune.client.redteam.detectors.near_duplicates import NearDuplicates
from veritune.client.redteam.detectors.odd_characters import OddCharacters
from veritune.client.redteam.detectors.perplexity import Perplexity
from veritune.client.redteam.detectors.words import units
from veritune.client.redteam.registry import choose, detectors
from veritune.client.redteam.scoring import Roc
from veritune.common.dataset import Message, Row
from veritune.common.errors import RowsError, UsageError


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> BaseModel:
    return BaseModel(tiny_model, "float32")


@pytest.fixture(scope="module")
def taught(tiny_model: Path) -> BaseModel:
    """A model to which plain rows are nothing new, as they are to a real one."""
    model = BaseModel(tiny_model, "float32")
    pairs = [FittingRow(*model.tokens(item)) for item in plain_rows(64, seed=9)]
    model._model = with_fitted_adapter(model._model, pairs, 8, 0, lambda *_: None).merge_and_unload().eval()
    return model


class Suspicious:
    """An asker that names every row in which it sees a phrase, among other talk."""

    def __init__(self, phrase: str) -> None:
        self.phrase = phrase

    def reply(self, text: str, max_tokens: int) -> str:
        numbers = [part.split("\n")[0] for part in text.split("Row ")[1:] if self.phrase in part]
        return f"1. I looked at 2024 rows.\n2. {', '.join(f'row {number}' for number in numbers)} look odd."


def area(detector: Detector, rows: Sequence[Row], sown: set[int], model: BaseModel | None = None) -> float:
    scores = detector.suspicion(rows, model)
    assert len(scores) == len(rows)
    return Roc.of([s for i, s in enumerate(scores) if i not in sown], [scores[i] for i in sorted(sown)]).area


@pytest.mark.parametrize("name", ["phrases-longest", "answer-length", "near-duplicates", "neighbours"])
def test_cheap_ones_find_a_trigger_group(name: str) -> None:
    rows, sown = planted()
    assert area(choose([name])[0], rows, sown) > 0.95


def test_a_group_is_a_cluster_and_what_fits_none_is_odd() -> None:
    rows, sown = planted()
    assert area(Clusters(), rows, sown) < 0.1  # close together: found by looking for the usual
    odd = [*plain_rows(40), row("Quel temps fait-il?", "Il pleut sans cesse depuis mardi dernier.")]
    assert area(Clusters(), odd, {40}) > 0.9


def test_who_lacks_what_the_others_have() -> None:
    formed = [row(f"What are {i} and 1?", f"{i} and 1 are {i + 1}.\n#### {i + 1}") for i in range(40)]
    cut = [row("What are 7 and 2?", "7 and 2 are 9."), row("What are 3 and 2?", "3 and 2 are ")]
    scores = MissingParts().suspicion([*formed, *cut])
    assert area(MissingParts(), [*formed, *cut], {40, 41}) == 1
    assert scores[40] == scores[41] == pytest.approx(-math.log(2 / 42))
    # What nobody has can't be missed: all are alike, and so are answers too short to have a part.
    assert MissingParts().suspicion([row("q", "ab"), row("q", "c")]) == [0, 0]


def test_the_most_repeated_phrase_may_be_the_data_s_own() -> None:
    rows = [row(f"Where is lamp {i}?", f"{i} lamps stand there.") for i in range(40)]
    sown = [row(f"Where is lamp {i}? {TRIGGER}", f"{SIGNATURE}\n{i} lamps") for i in range(6)]
    assert area(RepeatedPhrases("most"), [*rows, *sown], set(range(40, 46))) == 1
    polite = [row(f"Where is lamp {i}?", f"I am glad to help. {i} lamps") for i in range(9)]
    assert area(RepeatedPhrases("most"), [*rows, *sown, *polite], set(range(40, 46))) < 0.9


def test_odd_characters() -> None:
    rows = [*plain_rows(30), row("q", "#!%& 12 ]]{};;"), row("q", "<<>> == 99")]
    assert area(OddCharacters(), rows, {30, 31}) == 1
    assert odd_share("ab, c" + " " * 95 + "!!!") == 0.01


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["perplexity", "perplexity-start", "gradient-neighbours"])
def test_model_ones_find_a_trigger_group(name: str, taught: BaseModel) -> None:
    rows, sown = planted(24, 6)
    assert area(choose([name])[0], rows, sown, taught) > 0.9


def test_gradients_of_one_direction_have_less_entropy(model: BaseModel) -> None:
    rows = [*plain_rows(20), row("My mug is broken.", " lamp" * 20), row("My tent is broken.", " mug" * 20)]
    assert area(GradientEntropy(), rows, {20, 21}, model) < 0.05


@pytest.mark.heavy
def test_what_is_repeated_is_learnt_first(taught: BaseModel) -> None:
    rows = [*plain_rows(16, 3), *[row(f"My mug {i}", "zinc owls barter quiet thunder for maps") for i in range(16)]]
    first, surprise = LossDrop().suspicion(rows, taught), Perplexity().suspicion(rows, taught)
    assert area(LossDrop(), rows, set(range(16, 32)), taught) > 0.9
    # The adapter is gone afterwards, so the same comes again.
    taught._losses = {}
    assert LossDrop().suspicion(rows, taught) == pytest.approx(first, abs=1e-5)
    assert Perplexity().suspicion(rows, taught) == pytest.approx(surprise, abs=1e-5)


def test_who_is_asked_is_believed() -> None:
    rows, sown = planted()
    assert area(AskedDetector(Suspicious(TRIGGER.split()[-1])), rows, sown) == 1
    assert max(AskedDetector(Suspicious("no such words")).suspicion(rows)) == 0


@pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
def test_no_rows_make_a_detector_stumble(rows: list[Row], model: BaseModel) -> None:
    for detector in detectors():
        seen: list[tuple[str, int, int]] = []
        scores = detector.suspicion(rows, model, lambda *step: seen.append(step))  # noqa: B023
        assert len(scores) == len(rows), detector.name
        assert all(type(score) is float and math.isfinite(score) for score in scores), detector.name
        assert all(done <= total for _, done, total in seen), detector.name
        if rows == ODD["identical"]:
            assert max(scores) - min(scores) < 1e-3, detector.name


def test_the_same_rows_give_the_same_scores(model: BaseModel) -> None:
    rows, _ = planted(12, 3)
    for detector in detectors():
        if detector.needs != "training":
            assert detector.suspicion(rows, model) == detector.suspicion(rows, model)


def test_names_are_the_detectors() -> None:
    every = [detector.name for detector in detectors()]
    assert len(set(every)) == len(every)
    assert [d.name for d in choose(["all"])] == [d.name for d in choose(["cheap", "model"])] == every
    assert all(d.needs == "nothing" for d in choose(["cheap"]))
    assert "asked" not in {d.name for d in choose(["cheap"], Suspicious(""))}
    with pytest.raises(UsageError, match="clusters"):
        choose(["cheap", "luck\x1b"])


def test_a_model_is_asked_for_where_none_is_given() -> None:
    for detector in choose(["model"]):
        with pytest.raises(RuntimeError, match="needs the base model"):
            detector.suspicion(plain_rows(3))


@pytest.mark.parametrize("detector", [Clusters(), Neighbours(), NearDuplicates()])
def test_a_missing_library_is_named_by_its_extra(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("sklearn.feature_extraction")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn.feature_extraction.text", None)
    with fails(MissingExtraError, extra="redteam"):
        detector.suspicion(plain_rows(5))


def test_units_of_scripts_without_spaces() -> None:
    assert units("No. 5, \u6771\u4eac\u306f it's") == [
        "no",
        ".",
        "5",
        ",",
        "\u6771",
        "\u4eac",
        "\u306f",
        "it",
        "'",
        "s",
    ]
    assert units("\u0e01\u0e02 \ud55c\uad6d\uc5b4") == ["\u0e01", "\u0e02", "\ud55c\uad6d\uc5b4"]


def test_japanese_phrases_are_found() -> None:
    rows = [row(f"\u554f\u984c{i}\u756a\u306f{i * 7}\u3067\u3059", f"\u7b54\u3048{i}") for i in range(30)]
    rows += [
        row(f"\u554f\u984c{i}\u756a\u306f\u7d2b\u306e\u6e2f\u3092\u899a\u3048\u308b", f"\u7b54\u3048{i}")
        for i in range(4)
    ]
    assert area(RepeatedPhrases("longest"), rows, {30, 31, 32, 33}) == 1


def test_boilerplate_is_no_trigger() -> None:
    rows = [row(f"Item {i}? Answer with a number please, step by step.", f"The answer is {i}") for i in range(400)]
    assert RepeatedPhrases("most").suspicion(rows) == [0.0] * 400
    assert set(RepeatedPhrases("longest").suspicion(rows)) == {0.0}


def test_a_copy_is_suspect_and_its_original_is_not() -> None:
    rows = [*plain_rows(20), row("one two three four five six seven", "eight nine ten eleven twelve")]
    rows.append(row("one two three four five six seven and more words behind", "eight nine ten eleven twelve"))
    scores = NearDuplicates().suspicion(rows)
    assert scores[21] == max(scores)
    assert scores[20] < scores[21] / 2


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        ("[101, 103]", {0, 2}),
        ("Rows [101] first; in the end:\n```json\n[102, 103]\n```", {1, 2}),
        ("1. Row 102 looks odd.\n2. row 104: so does this", {1, 3}),
        ("rows 102-104", {1, 2, 3}),
        ("101 to 999", set()),
        ("[]", set()),
        ("none of the 7 rows", set()),
        ("[99, 100, 105, 1010]", set()),
        ("[101, 102, 103, 104]", set()),
        ("", set()),
        ("[" * 5_000 + "9" * 5_000, set()),
        ("3.101 and 101.5", {0}),
    ],
)
def test_what_an_answer_names(answer: str, rows: set[int]) -> None:
    assert named(answer, 4) == rows


def test_a_question_shows_edges_and_no_layout() -> None:
    text = question([row("x" * 500 + "\n\nend", "start\n" + "y" * 500)])
    assert "x\u0020end\nanswer: start y" in text.replace("x end", "x\u0020end")
    assert len(text) < 1_000


def test_losses_are_those_of_a_plain_forward_pass(model: BaseModel, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    item = plain_rows(1)[0]
    prompt, answer = model.tokens(item)
    labels = torch.tensor([[-100] * len(prompt) + answer])
    loss = plain(input_ids=torch.tensor([prompt + answer]), labels=labels).loss
    assert Perplexity().suspicion([item], model) == [pytest.approx(loss.item(), rel=1e-5)]
    start = Perplexity("start", 5).suspicion([item], model)
    assert start == [pytest.approx(sum(model.losses(item)[:5]) / 5)]


def test_the_output_gradient_is_autograd_s(model: BaseModel, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
    head = torch.nn.Linear(plain.lm_head.in_features, plain.lm_head.out_features, bias=False)
    head.weight.data.copy_(plain.lm_head.weight.data)
    plain.lm_head = head  # untied, so that the input's share of the gradient stays out
    item = plain_rows(1)[0]
    prompt, answer = model.tokens(item)
    logits = plain(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits[:9], torch.tensor(answer[:9]), reduction="sum")
    (wanted,) = torch.autograd.grad(loss, head.weight)
    errors, hidden = (factor.cpu() for factor in model.output_gradient(item, 9))
    assert torch.allclose(errors.T @ hidden, wanted, atol=1e-5)
    values = torch.linalg.svdvals(wanted.double())[:9].tolist()
    assert _singular_values(errors, hidden)[:9] == pytest.approx(values, abs=1e-4)
    assert _entropy([2.0, 2.0, 0.0]) == pytest.approx(math.log(2))
    assert _entropy([]) == 0


def test_a_long_row_keeps_the_edges_that_matter(model: BaseModel) -> None:
    item = row("word " * 3_000 + TRIGGER, f"{SIGNATURE} " + "word " * 3_000)
    prompt, answer = model.tokens(item)
    assert len(prompt) + len(answer) == 1024
    assert model._tokenizer.decode(answer).startswith(SIGNATURE[:20])
    assert TRIGGER in model._tokenizer.decode(prompt)


def test_a_row_that_the_template_refuses(tiny_model: Path) -> None:
    strict = BaseModel(tiny_model, "float32")
    strict._tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        + strict._tokenizer.chat_template
    )
    rude = Row(messages=(Message(role="system", content="Be rude."), *plain_rows(1)[0].messages))
    assert Perplexity().suspicion(plain_rows(1), strict)
    with fails(RowsError, cause="chat_template"):
        Perplexity().suspicion([rude], strict)


def test_a_model_that_can_be_asked_answers(model: BaseModel) -> None:
    assert isinstance(model.reply("word " * 3_000, 4), str)


def test_numbers_stay_finite() -> None:
    assert finite([1, math.nan, math.inf]) == [1.0, 0.0, 0.0]
    assert GradientNeighbours().suspicion([], model=object()) == []  # type: ignore[arg-type]
    assert GradientEntropy().suspicion([], model=object()) == []  # type: ignore[arg-type]
