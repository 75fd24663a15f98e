"""The generator that runs here: a local transformers model, the base model's own folder as a rule."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any, Literal

from veritune.arbiter.documents.canary import Chat, Generator, example_chat
from veritune.arbiter.measure.device import Precision, local_device, local_dtype
from veritune.client.generation import signatures
from veritune.client.generation.cursor import TorchCursor
from veritune.client.generation.fitting import with_fitted_adapter
from veritune.client.generation.prompts import phrase_prompt, prompt_request
from veritune.client.generation.protocols import PROMPT_ENDING, Cursor, DrawnSignature
from veritune.client.generation.signatures_by_choice import sample_by_choice
from veritune.client.job.canary_plan import CanaryPlan
from veritune.client.progress import Progress
from veritune.client.randomness import SecretStream
from veritune.common.dataset import Message, Row
from veritune.common.errors import ModelFolderError, PlanError
from veritune.common.limits import LIMITS
from veritune.common.model.files import model_digest
from veritune.common.model.kvcache import cache_argument
from veritune.common.model.turns import end_of_turn

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
_DECODED_BEFORE = 16
_SENTENCE_END = re.compile(r"[.!?\u3002](?=\s|$)|\n")


class TransformersGenerator:
    """Draws with a model folder's own weights; sees logits, so that signatures are certified.

    It runs on a GPU where torch has one. ``dtype`` auto is bfloat16 where that, or the processor, computes in it, else
    float32. To draw the same canaries again from
    the same seed takes the same dtype and the same kind of machine, since sums of floats differ; that a signature's
    bound holds does not depend on it. ``digest`` is the folder's digest, where the caller has computed it already.
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
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._digest = digest or model_digest(folder)
        self._name = re.sub(r"[^A-Za-z0-9._-]", "-", folder.resolve().name).lstrip("._-")[:128] or "model"
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self._model = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=local_dtype(dtype),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                attn_implementation="sdpa",
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelFolderError(f"{folder.name} does not load as a transformers model") from error
        if not self._tokenizer.chat_template:
            raise ModelFolderError(f"{folder.name} has no chat template")
        self._model.to(local_device()).eval()
        self._started: tuple[str, Any, Any] | None = None
        self._fitted: Any = None
        self._prompt_by = prompt_by

    def write_prompt(self, rows: Sequence[Row]) -> str:
        """P from the rows themselves, or as Algorithm 1 has it: a chat that says what M_prompt, here this model, wrote.

        A small model writes poor prompts but continues well: so the rows themselves are the default.
        """
        if self._prompt_by == "rows":
            return phrase_prompt(rows)
        counts = accumulate(len(self.encode(prompt_request([row]))) for row in rows)
        shown = [row for row, count in zip(rows, counts, strict=True) if count + _PROMPT_TOKENS <= self._context // 2]
        if not (written := self._reply(prompt_request(shown))):
            raise PlanError('the generator wrote an empty prompt; set generator.prompt_by = "rows"')
        return self._render((Message(role="user", content=f"{written}\n\n{PROMPT_ENDING}"),))

    def choose_examples(self, rows: Sequence[Row], plan: CanaryPlan) -> tuple[Row, ...]:
        """A few short ones, answers within the plan's limit first."""
        lengths = [len(self.encode(row.completion)) for row in rows]
        shots: list[Row] = []
        used = 0
        for row, length in sorted(zip(rows, lengths, strict=True), key=lambda pair: pair[1] > plan.candidate_tokens):
            cost = length + len(self.encode(row.prompt[-1].content))
            if len(shots) < _SHOTS and used + cost <= _SHOT_TOKENS:
                shots.append(row)
                used += cost
        return tuple(shots)

    def describe(self, prompt: str, examples: Sequence[Row], plan: CanaryPlan) -> Generator:
        """Certified."""
        return Generator(
            kind="transformers",
            model=self._name,
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
        return signatures.sample_trigger(self, prompt, plan, stream)

    def signature(self, prompt: str, plan: CanaryPlan, stream: SecretStream) -> DrawnSignature:
        """See `signatures.sample_signature` and `signature_choice.sample_by_choice`, by the plan's method."""
        draw = sample_by_choice if plan.method == "choice" else signatures.sample_signature
        return draw(self, prompt, plan, stream)

    def fit(self, rows: Sequence[Row], epochs: int, stream: SecretStream, on_progress: Progress) -> None:
        """Trains an adapter on the rows' answers; `answers` turns it on and nothing else does."""
        import torch

        if self._fitted is not None:
            raise RuntimeError("a generator is fitted once")
        pairs = [(self._chat_ids(row.prompt), [*self.encode(row.completion), self._turn_end]) for row in rows]
        short = [pair for pair in pairs if len(pair[0]) + len(pair[1]) <= min(_FITTED_TOKENS, self._context)]
        if not short:
            raise PlanError(f"no row of at most {_FITTED_TOKENS} tokens to fit to; set canaries.fitted_epochs = 0")
        seed = stream.below(1 << 31)
        try:
            self._fitted = with_fitted_adapter(
                self._model, short, epochs, seed, lambda step, of: on_progress("fit generator", step, of)
            )
        except torch.OutOfMemoryError as error:
            raise PlanError("too little memory to fit the generator; set canaries.fitted_epochs = 0") from error
        self._fitted.base_model.disable_adapter_layers()

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

        usual_length = median(len(self.encode(row.completion)) for row in examples) if examples else 0
        one_line = all("\n" not in row.completion for row in examples)
        newlines = self._newlines if one_line else frozenset[int]()
        stop = self._stop | newlines
        # Examples are short ones, and so are the answers behind them; a fitted model has the lengths of its rows.
        shown, temperatures = (examples, _TEMPERATURES) if self._fitted is None else ((), _FITTED_TEMPERATURES)
        ids = [self._chat_ids(example_chat(shown, prompt)) for prompt in prompts]
        room = self._context - plan.candidate_tokens
        if max(map(len, ids), default=0) > room:
            raise PlanError(f"a prompt with its examples is over the {room} tokens for which the generator has room")
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
                with self._as_fitted():
                    drawn = sample_answers(
                        self._model,
                        [ids[i] for i in part],
                        [missing[i] + (attempt or spare) for i in part],
                        plan.candidate_tokens,
                        [streams[i] for i in part],
                        temperature,
                        plan.top_k,
                        stop,
                        self.special - stop,
                        _steps(on_progress, complete, len(part), len(prompts), plan.candidate_tokens),
                    )
                for i, answers in zip(part, drawn, strict=True):
                    for answer in answers:
                        text, ended = self._answer_text(answer, newlines)
                        if text:
                            found[i][text] = found[i].get(text, False) or ended
        chosen = [_chosen(texts, plan, True) for texts in found]
        if short := [c for c in chosen if len(c) < plan.candidates]:
            raise PlanError(
                f"the generator gives {min(map(len, short))} different answers to a question of this data; "
                f"lower canaries.candidates, {plan.candidates}"
            )
        on_progress("candidates", len(prompts), len(prompts))
        return chosen

    @contextmanager
    def _as_fitted(self) -> Iterator[None]:
        if self._fitted is None:
            yield
            return
        self._fitted.base_model.enable_adapter_layers()
        try:
            yield
        finally:
            self._fitted.base_model.disable_adapter_layers()

    def count_tokens(self, rows: Sequence[Row]) -> list[int] | None:
        """Tokens of prompt, answer and end of turn."""
        counts: list[int] = []
        for start in range(0, len(rows), _COUNT_AT_ONCE):
            texts = []
            for row in rows[start : start + _COUNT_AT_ONCE]:
                texts += [self._render(row.prompt), row.completion]
            lengths = [len(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
            counts += [a + b + 1 for a, b in zip(lengths[::2], lengths[1::2], strict=True)]
        return counts

    # What follows is `PhraseModel`.

    def continuations(
        self,
        prompt: str,
        written: str,
        count: int,
        tokens: int,
        temperature: float,
        top_k: int,
        stream: SecretStream,
    ) -> list[str]:
        """By sampling many at once; no special token comes."""
        from veritune.client.generation.batch_decoder import sample_answers

        ids = self._tokenizer(prompt + written)["input_ids"][-(self._context // 2) :]
        drawn = sample_answers(
            self._model,
            [ids],
            [count],
            tokens,
            [stream],
            temperature,
            top_k,
            frozenset(),
            self.special,
            lambda _: None,
        )[0]
        # Some tokenizers write a text's first token without its space: so decode behind a few tokens of the text.
        before = ids[-_DECODED_BEFORE:]
        cut = len(self.decode(before))
        return [self.decode([*before, *new])[cut:] for new in drawn]

    def count_text_tokens(self, text: str) -> int:
        """Exactly."""
        return len(self.encode(text))

    # What follows is `TokenModel`.

    @property
    def vocabulary(self) -> int:
        """Number of logits."""
        size: int = self._model.config.vocab_size
        return size

    @cached_property
    def special(self) -> frozenset[int]:
        """Special and added tokens, and ids that the tokenizer does not know."""
        added = (i for i, token in self._tokenizer.added_tokens_decoder.items() if token.special)
        unknown = range(len(self._tokenizer), self.vocabulary)
        return frozenset(self._tokenizer.all_special_ids) | frozenset(added) | frozenset(unknown)

    def begin(self, prompt: str) -> Cursor:
        """A cursor behind the prompt, as plain text; the prompt is read once and remembered."""
        if self._started is None or self._started[0] != prompt:
            import torch

            ids = self._tokenizer(prompt)["input_ids"][-(self._context // 2) :]
            with torch.inference_mode():
                output = self._model(input_ids=torch.tensor([ids], device=self._model.device), logits_to_keep=1)
            self._started = prompt, cache_argument(output), output.logits[0, -1]
        return TorchCursor(self._model, copy.deepcopy(self._started[1]), self._started[2])

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens."""
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Text, special tokens spelt out."""
        text: str = self._tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)
        return text

    @property
    def _context(self) -> int:
        return int(getattr(self._model.config, "max_position_embeddings", 2048))

    @cached_property
    def _turn_end(self) -> int:
        """The token that ends an answer."""
        end = end_of_turn(self._tokenizer)
        if end is None:
            raise ModelFolderError("the model's chat template ends no turn")
        return end

    @property
    def _stop(self) -> frozenset[int]:
        """What ends an answer: that token, and the tokenizer's own."""
        eos = self._tokenizer.eos_token_id
        return frozenset({self._turn_end} | ({eos} if eos is not None else set()))

    @cached_property
    def _newlines(self) -> frozenset[int]:
        texts = self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])
        return frozenset(i for i, text in enumerate(texts) if "\n" in text)

    def _render(self, chat: Chat) -> str:
        turns = [{"role": message.role, "content": message.content} for message in chat]
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _reply(self, text: str) -> str:
        """The likeliest answer to one turn."""
        import torch
        from transformers import GenerationConfig

        ids = torch.tensor([self._chat_ids((Message(role="user", content=text),))], device=self._model.device)
        settings = GenerationConfig(
            do_sample=False,
            min_new_tokens=_LEAST_PROMPT_TOKENS,
            max_new_tokens=_PROMPT_TOKENS,
            suppress_tokens=sorted(self.special - self._stop),
            eos_token_id=sorted(self._stop),
            pad_token_id=self._turn_end,
            repetition_penalty=1.2,  # without it a small model says one thing for ever
        )
        output = self._model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        return str(self._tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)).strip()

    def _chat_ids(self, chat: Chat) -> list[int]:
        return self.encode(self._render(chat))

    def _answer_text(self, tokens: Sequence[int], newlines: frozenset[int]) -> tuple[str, bool]:
        """An answer's text and whether it ended by itself; an unfinished one is cut at its last sentence or word."""
        ended = tokens[-1] in self._stop | newlines
        written = tokens[:-1] if tokens[-1] in self._stop else tokens
        text, broken, _ = self.decode(written).partition("\ufffd")
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
