"""The generator that runs here: a local transformers model, the base model's own folder as a rule."""

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
"""Who makes P: sentences of the sampled rows, or the model when asked for a prompt (M_prompt of the paper)."""

_SHOTS = 6
_SHOT_TOKENS = 384
"""The examples of a natural canary's prompt: at most so many, of so many tokens together."""
_TEMPERATURES, _FITTED_TEMPERATURES = (0.7, 0.85, 1.0, 1.25, 1.6, 2.0), (1.0, 1.0, 1.0, 1.25, 1.6, 2.0)
"""Raised step by step as long as too few different answers come; at 1 a fitted model's look like its rows."""
_ANSWERS_AT_ONCE = 512
_PROMPT_TOKENS, _LEAST_PROMPT_TOKENS = 256, 8
"""Of the prompt that M_prompt writes, at most and at least."""
_COUNT_AT_ONCE = 1000
_FITTED_TOKENS = 1024
"""Longer rows are not fitted to."""
_SENTENCE_END = re.compile(r"[.!?\u3002](?=\s|$)|\n")


class TransformersGenerator:
    """Draws canaries with a model folder's own weights, which show logits, so that signatures are certified.

    ``dtype`` is as in `LocalTextModel`. To draw the same canaries again from the same seed takes the same dtype and the
    same kind of machine, since sums of floats differ; that a signature's bound holds does not depend on it. ``digest``
    is the folder's digest, where the caller has computed it already.
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
        """P from the rows themselves, or as Algorithm 1 has it: a chat that says what M_prompt, here this model, wrote.

        A small model writes poor prompts but continues well: so the rows themselves are the default.
        """
        if self._prompt_by == "rows":
            return phrase_prompt(rows)
        counts = accumulate(len(self.model.encode(prompt_request([row]))) for row in rows)
        shown = [
            row for row, count in zip(rows, counts, strict=True) if count + _PROMPT_TOKENS <= self.model.context // 2
        ]
        if not (written := self.model.reply(prompt_request(shown), _LEAST_PROMPT_TOKENS, _PROMPT_TOKENS)):
            raise PlanError('the generator wrote an empty prompt; set generator.prompt_by = "rows"')
        return self.model.render((Message(role="user", content=f"{written}\n\n{PROMPT_ENDING}"),))

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """A few short ones, answers within the plan's limit first."""
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
        """See `veritune.client.generation.signatures.sample_trigger`."""
        return signatures.sample_trigger(self.model, prompt, plan, stream)

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """See `signatures.sample_signature` and `signatures_by_choice.sample_by_choice`, by the plan's method."""
        draw = sample_by_choice if plan.method == "choice" else signatures.sample_signature
        return draw(self.model, prompt, plan, stream)

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        """Trains an adapter on the rows' answers; `answers` turns it on and nothing else does."""
        model = self.model
        every = [FittingRow(model.chat_ids(r.prompt), [*model.encode(r.completion), model.turn_end]) for r in rows]
        short = [row for row in every if len(row.prompt) + len(row.answer) <= min(_FITTED_TOKENS, model.context)]
        if not short:
            raise PlanError(f"no row of at most {_FITTED_TOKENS} tokens to fit to; set canaries.fitted_epochs = 0")
        model.fit(short, epochs, stream.below(1 << 31), lambda step, of: on_progress("fit generator", step, of))

    def answers(
        self,
        examples: Sequence[Row],
        prompts: Sequence[Chat],
        plan: CanaryPlan,
        streams: Sequence[SecretStream],
        on_progress: Progress,
    ) -> list[tuple[str, ...]]:
        """Different answers to each prompt by sampling behind examples, or from the fitted model, which needs none:
        as many as the plan's candidates or more, for the caller to choose among.

        Where too few differ, more are drawn at a higher temperature. This may favour some answers as one likes, and
        so may the examples: the true answer is drawn uniformly from the finished set afterwards, so that under the
        null hypothesis any set whatever gives each member the same chance (docs/statistics.md, equation 2).
        """
        from veritune.client.generation.batch_decoder import sample_answers

        model = self.model
        usual_length = median(len(model.encode(row.completion)) for row in examples) if examples else 0
        newlines = frozenset[int]() if any("\n" in row.completion for row in examples) else model.newlines
        stop = model.stop | newlines
        # Examples are short ones, and so are the answers behind them; a fitted model has the lengths of its rows.
        shown, temperatures = ((), _FITTED_TEMPERATURES) if model.is_fitted else (examples, _TEMPERATURES)
        ids = self._prompt_ids(shown, prompts, plan)
        found: list[dict[str, bool]] = [{} for _ in prompts]
        # An answer cut at the limit shows that it is no real one, unless the real ones are cut as well.
        patience = 0 if usual_length > plan.candidate_tokens else 2
        # Some come twice or don't end, and the caller chooses: more at first.
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
            raise PlanError(
                f"the generator gives {fewest} different answers to a question of this data; "
                f"lower canaries.candidates, {plan.candidates}"
            )
        on_progress("candidates", len(prompts), len(prompts))
        return chosen

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """Tokens of each row: its prompt, its answer and the end of its turn."""
        counts: list[int] = []
        for start in range(0, len(rows), _COUNT_AT_ONCE):
            texts = []
            for row in rows[start : start + _COUNT_AT_ONCE]:
                texts += [self.model.render(row.prompt), row.completion]
            lengths = [len(ids) for ids in self.model.encode_all(texts)]
            counts += [a + b + 1 for a, b in zip(lengths[::2], lengths[1::2], strict=True)]
        return counts

    def _prompt_ids(self, examples: Sequence[Row], prompts: Sequence[Chat], plan: CanaryPlan) -> list[list[int]]:
        """Token ids of each prompt behind the examples. Raises `PlanError` where no room for an answer is left."""
        ids = [self.model.chat_ids(example_chat(examples, prompt)) for prompt in prompts]
        room = self.model.context - plan.candidate_tokens
        if max(map(len, ids), default=0) > room:
            raise PlanError(f"a prompt with its examples is over the {room} tokens for which the generator has room")
        return ids

    def _keep(self, answers: Sequence[Sequence[int]], newlines: frozenset[int], found: dict[str, bool]) -> None:
        """Adds the texts of drawn answers to those of one prompt, which say whether they ended by themselves."""
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
        if broken or not ended:  # half a character is no real answer's either
            ended = False
            ends = [match.end() for match in _SENTENCE_END.finditer(text)]
            text = text[: ends[-1]] if ends else text.rpartition(" ")[0] or text
        elif tokens[-1] in newlines:
            text = text.split("\n")[0]
        text = text.strip()
        usable = "\x00" not in text and len(text) <= LIMITS.phrase
        return (text if usable else ""), ended


def _chosen(texts: dict[str, bool], plan: CanaryPlan, cut_too: bool) -> tuple[str, ...]:
    """Every different answer that ended by itself; the first of the others where these are too few."""
    ended = [text for text, complete in texts.items() if complete]
    cut = [text for text, complete in texts.items() if not complete] if cut_too else []
    return (*ended, *cut[: max(0, plan.candidates - len(ended))])


def _steps(on_progress: Progress, before: int, part: int, prompts: int, steps: int) -> Callable[[int], None]:
    """Steps of one group told as finished canaries."""
    return lambda step: on_progress("candidates", before + part * step // (steps + 1), prompts)
