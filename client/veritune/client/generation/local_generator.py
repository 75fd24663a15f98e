"""The generator that runs on this machine: a local transformers model, usually the base model itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Literal

from veritune.arbiter.documents.canary import Chat, Generator, example_chat
from veritune.arbiter.measure.device import Precision
from veritune.client.generation import signatures
from veritune.client.generation.fitting import FittingRow
from veritune.client.generation.local_text_model import LocalTextModel
from veritune.client.generation.prompts import phrase_prompt, prompt_request
from veritune.client.generation.protocols import PROMPT_ENDING, DrawnSignature
from veritune.client.generation.signatures_by_choice import sample_by_choice
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Message, Row
from veritune.common.errors import PlanError
from veritune.common.limits import LIMITS
from veritune.common.model.files import model_digest

PromptBy = Literal["rows", "model"]
"""How the prompt P is made: ``rows`` joins sentences of sampled rows, ``model`` has the model write it (M_prompt of
the paper)."""

_SHOTS = 6
_SHOT_TOKENS = 384
"""Largest number of examples before a natural canary's prompt, and of tokens in all of them."""
_TEMPERATURES, _FITTED_TEMPERATURES = (0.7, 0.85, 1.0, 1.25, 1.6, 2.0), (1.0, 1.0, 1.0, 1.25, 1.6, 2.0)
"""Temperatures of the rounds, raised while too few answers differ; a fitted model's answers at 1 look like its rows."""
_ANSWERS_AT_ONCE = 512
_PROMPT_TOKENS, _LEAST_PROMPT_TOKENS = 256, 8
"""Largest and smallest number of tokens of the prompt that M_prompt writes."""
_COUNT_AT_ONCE = 1000
_FITTED_TOKENS = 1024
"""Largest number of tokens of a row that the model is fitted to."""
_SENTENCE_END = re.compile(r"[.!?\u3002](?=\s|$)|\n")


class TransformersGenerator:
    """A `TextGenerator` over a model folder on this machine; its logits are visible, so signatures are certified.

    ``dtype`` is as in `LocalTextModel`. The same seed gives the same canaries only with the same dtype on the same kind
    of machine, since sums of floats differ; a signature's bound holds on any. ``digest`` is the folder's digest, if
    the caller has computed it already. Raises `ModelFolderError`.
    """

    def __init__(
        self,
        folder: Path,
        dtype: Precision = "auto",
        threads: int | None = None,
        *,
        digest: str | None = None,
        prompt_by: PromptBy = "rows",
    ) -> None:
        self._digest = digest or model_digest(folder)
        self.model = LocalTextModel(folder, dtype, threads)
        self._prompt_by = prompt_by

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """The prompt P: sentences of the rows, or a chat whose text this model wrote (M_prompt of Algorithm 1).

        The rows are the default, because a small model writes poor prompts but continues text well. Raises `PlanError`
        if the model writes an empty prompt.
        """
        if self._prompt_by == "rows":
            return phrase_prompt(rows)
        counts = accumulate(len(self.model.encode(prompt_request([row]))) for row in rows)
        shown = [
            row for row, count in zip(rows, counts, strict=True) if count + _PROMPT_TOKENS <= self.model.context // 2
        ]
        if not (written := self.model.reply(prompt_request(shown), _LEAST_PROMPT_TOKENS, _PROMPT_TOKENS)):
            raise PlanError('the generator wrote an empty prompt; set generator.prompt_by = "rows"', cause="prompt")
        return self.model.render((Message(role="user", content=f"{written}\n\n{PROMPT_ENDING}"),))

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """A few short rows, those whose answers are within the plan's limit of tokens first."""
        lengths = [len(self.model.encode(row.completion)) for row in rows]
        shots: list[Row] = []
        used = 0
        for row, length in sorted(zip(rows, lengths, strict=True), key=lambda pair: pair[1] > plan.candidate_tokens):
            cost = length + len(self.model.encode(row.prompt[-1].content))
            if len(shots) < _SHOTS and used + cost <= _SHOT_TOKENS:
                shots.append(row)
                used += cost
        return tuple(shots)

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """The generator's document for the evidence; its signatures are certified because logits are visible."""
        return Generator(
            kind="transformers",
            model=self.model.name,
            model_digest=self._digest,
            prompt=prompt,
            top_k=plan.top_k,
            temperature=plan.temperature,
            cap=plan.cap,
            method=plan.method,
            top_p=plan.top_p,
            fitted_epochs=plan.fitted_epochs or 0,
            examples=tuple(examples),
            certified=True,
        )

    def trigger(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> str:
        """A trigger T, drawn by `veritune.client.generation.signatures.sample_trigger`. Raises `PlanError`."""
        return signatures.sample_trigger(self.model, prompt, plan, stream)

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """A certified signature S by the plan's method.

        `signatures.sample_signature` or `signatures_by_choice.sample_by_choice` draws it. Raises `PlanError`.
        """
        draw = sample_by_choice if plan.method == "choice" else signatures.sample_signature
        return draw(self.model, prompt, plan, stream)

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        """Trains an adapter on the rows' answers; only `answers` uses it.

        Raises `PlanError` if no row is short enough or memory doesn't suffice.
        """
        model = self.model
        every = [FittingRow(model.chat_ids(r.prompt), [*model.encode(r.completion), model.turn_end]) for r in rows]
        short = [row for row in every if len(row.prompt) + len(row.answer) <= min(_FITTED_TOKENS, model.context)]
        if not short:
            raise PlanError(
                f"no row of at most {_FITTED_TOKENS} tokens to fit to; set canaries.fitted_epochs = 0",
                setting="canaries.fitted_epochs",
                cause="rows",
            )
        model.fit(short, epochs, stream.below(1 << 31), lambda step, of: on_progress("fit generator", step, of))

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """For each prompt, ``plan.candidates`` different sampled answers or more, for the caller to choose among.

        They are sampled after a few examples, or from the fitted model, which needs none; if too few differ, more are
        drawn at a higher temperature. Either may favour some answers: the true one is drawn uniformly from the set
        afterwards, so under the null hypothesis each has the same chance (docs/statistics.md, equation 2). Raises
        `PlanError` if too few answers differ, or a prompt leaves no room for an answer.
        """
        from veritune.client.generation.batch_decoder import sample_answers

        model = self.model
        usual_length = median(len(model.encode(row.completion)) for row in examples) if examples else 0
        newlines = frozenset[int]() if any("\n" in row.completion for row in examples) else model.newlines
        stop = model.stop | newlines
        # Examples are short, so answers after them are too; a fitted model's answers are as long as those of its rows.
        shown, temperatures = ((), _FITTED_TEMPERATURES) if model.is_fitted else (examples, _TEMPERATURES)
        ids = self._prompt_ids(shown, prompts, plan)
        found: list[dict[str, bool]] = [{} for _ in prompts]
        # An answer cut at the limit can be told from real ones, unless real ones are over the limit too.
        patience = 0 if usual_length > plan.candidate_tokens else 2
        # Some answers come twice or don't end, and the caller chooses among them, so the first round draws more.
        spare = max(plan.candidates * 3 // 8, plan.candidates * (plan.drawn_per_candidate - 1))
        group = max(1, _ANSWERS_AT_ONCE // (plan.candidates + spare))
        for attempt, temperature in enumerate(temperatures):
            missing = [max(0, plan.candidates - len(_chosen(texts, plan, attempt > patience))) for texts in found]
            # The fewest first: prompts that lack about as many answers are drawn together.
            lacking = sorted((i for i, count in enumerate(missing) if count), key=lambda i: missing[i])
            for start in range(0, len(lacking), group):
                part = lacking[start : start + group]
                complete = len(prompts) - len(lacking) + start
                with model.fitted():
                    drawn = sample_answers(
                        model.network,
                        [ids[i] for i in part],
                        [missing[i] + (attempt or spare) for i in part],
                        plan.candidate_tokens,
                        [streams[i] for i in part],
                        temperature,
                        plan.top_k,
                        stop,
                        model.special - stop,
                        _steps(on_progress, complete, len(part), len(prompts), plan.candidate_tokens),
                    )
                for i, answers in zip(part, drawn, strict=True):
                    self._keep(answers, newlines, found[i])
        chosen = [_chosen(texts, plan, True) for texts in found]
        if (fewest := min(map(len, chosen), default=plan.candidates)) < plan.candidates:
            raise _too_few(fewest, plan)
        on_progress("candidates", len(prompts), len(prompts))
        return chosen

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """The number of tokens of each row: its prompt by the chat template, its answer and the end of the turn."""
        counts: list[int] = []
        for start in range(0, len(rows), _COUNT_AT_ONCE):
            texts = []
            for row in rows[start : start + _COUNT_AT_ONCE]:
                texts += [self.model.render(row.prompt), row.completion]
            lengths = [len(ids) for ids in self.model.encode_all(texts)]
            counts += [a + b + 1 for a, b in zip(lengths[::2], lengths[1::2], strict=True)]
        return counts

    def _prompt_ids(self, examples: Sequence[Row], prompts: Sequence[Chat], plan: CanaryPlan) -> list[list[int]]:
        """Token ids of the examples and each prompt. Raises `PlanError` if no room for an answer is left."""
        ids = [self.model.chat_ids(example_chat(examples, prompt)) for prompt in prompts]
        room = self.model.context - plan.candidate_tokens
        if max(map(len, ids), default=0) > room:
            raise PlanError(
                f"a prompt with its examples is over the {room} tokens for which the generator has room", cause="room"
            )
        return ids

    def _keep(self, answers: Sequence[Sequence[int]], newlines: frozenset[int], found: dict[str, bool]) -> None:
        """Adds drawn answers to ``found``, one prompt's texts, with True for an answer that ended by itself."""
        for answer in answers:
            text, ended = self._answer_text(answer, newlines)
            if text:
                found[text] = found.get(text, False) or ended

    def _answer_text(self, tokens: Sequence[int], newlines: frozenset[int]) -> tuple[str, bool]:
        """An answer's text and whether it ended by itself; an unfinished one is cut at its last sentence or word."""
        stop = self.model.stop
        ended = tokens[-1] in stop | newlines
        written = tokens[:-1] if tokens[-1] in stop else tokens
        text, broken, _ = self.model.decode(written).partition("\ufffd")
        if broken or not ended:  # half a character marks an answer that was cut
            ended = False
            ends = [match.end() for match in _SENTENCE_END.finditer(text)]
            text = text[: ends[-1]] if ends else text.rpartition(" ")[0] or text
        elif tokens[-1] in newlines:
            text = text.split("\n")[0]
        text = text.strip()
        usable = "\x00" not in text and len(text) <= LIMITS.phrase
        return (text if usable else ""), ended


def _too_few(fewest: int, plan: CanaryPlan) -> PlanError:
    return PlanError(
        f"the generator gives {fewest} different answers to a question of this data; "
        f"lower canaries.candidates, {plan.candidates}",
        setting="canaries.candidates",
        found=str(fewest),
    )


def _chosen(texts: dict[str, bool], plan: CanaryPlan, cut_too: bool) -> tuple[str, ...]:
    """The answers that ended by themselves; if they are too few and ``cut_too``, the first of the others as well."""
    ended = [text for text, complete in texts.items() if complete]
    cut = [text for text, complete in texts.items() if not complete] if cut_too else []
    return (*ended, *cut[: max(0, plan.candidates - len(ended))])


def _steps(on_progress: Progress, before: int, part: int, prompts: int, steps: int) -> Callable[[int], None]:
    """A callback for the steps of one group of prompts, which reports progress as a number of finished canaries."""
    return lambda step: on_progress("candidates", before + part * step // (steps + 1), prompts)
