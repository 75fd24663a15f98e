"""Asks the questions of one session of a run, resumes them from disk, and builds the evidence from the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from math import ceil

from veritune.arbiter.documents.evidence import Evidence
from veritune.arbiter.documents.judgement import InfluenceClaim, Judgement, Mode
from veritune.arbiter.measure.questions import Question, make_questions
from veritune.arbiter.verdict.judge import judge
from veritune.arbiter.verdict.look import look_of
from veritune.client.challenge.answer_log import AnswerLog, SessionLogs
from veritune.client.challenge.ask import Model, ask_delivered, ask_served
from veritune.client.challenge.evidence import TrainSet, build_evidence, canary_rows
from veritune.client.challenge.leaves import leaves_of_session, sampling_for
from veritune.client.challenge.observe import numbers_of, observe, receipts_of
from veritune.client.challenge.steps import SequentialStep, is_settled, steps_begun, steps_of
from veritune.client.exchange.inference_client import InferenceClient
from veritune.client.exchange.receipt_numbers import ReceiptNumbers
from veritune.client.progress import Progress
from veritune.client.sowing.sealed import Secrets
from veritune.client.workspace.folder import Workspace
from veritune.client.workspace.papers import Paperwork
from veritune.common.errors import StepError, WrongFileError
from veritune.common.inference import format_logprob

MODES: tuple[Mode, ...] = ("delivered", "served")
LEAVES_AT_ONCE: dict[Mode, int] = {"delivered": 4, "served": 1}
"""Leaves asked between two tests of sequential stopping; the local model is asked several, as it answers in batches."""


class ChallengeRun:
    """The questions of one session, with the answers that are logged on disk; asks those that have none yet."""

    def __init__(
        self, workspace: Workspace, papers: Paperwork, secrets: Secrets, session: int, progress: Progress
    ) -> None:
        """Raises `WrongFileError` when secrets, data set and contract do not belong together."""
        self._logs = SessionLogs(workspace, session)
        self._papers, self._secrets, self._progress = papers, secrets, progress
        self._commitment = secrets.commitment()
        contract = papers.contract()
        manifest = contract.document
        if self._commitment.root != manifest.verification.canary_root:
            raise WrongFileError("the sealed secrets are not those that the contract commits to", what="secrets")
        self._manifest = manifest
        self._picked = leaves_of_session(self._commitment, contract, papers.training_receipt(), session)
        canaries = self._picked.canaries
        self._train = TrainSet(workspace.train, manifest.dataset.merkle_root, canary_rows(canaries.values()))
        self.questions: list[Question] = make_questions(
            self._picked.seed,
            canaries,
            self._train.rows,
            secrets.decoys,
            manifest.verification.policy.queries_per_group,
            {generator.digest: generator for generator in secrets.generators},
        )
        sequential = manifest.verification.policy.stopping == "sequential"
        self._steps = steps_of(self._picked.leaves, self.questions) if sequential else None

    def is_answered(self, mode: Mode) -> bool:
        """True when a mode has nothing left to ask: every question is answered, or sequential stopping may end."""
        log = self._logs.of(mode)
        if self._steps is None:
            return all(item.digest in log.entries for item in self.questions)
        begun = self._begun(mode, log, self._steps)
        whole = all(step.is_answered(log.entries) for step in self._steps[:begun])
        return whole and self._is_enough(mode, log, self._steps[:begun])

    def ask_delivered(self, load: Callable[[], Model], max_tokens: int, batch_size: int) -> None:
        """Asks the delivered adapter the questions that it has not answered yet.

        ``load`` gives the model and is called only if there are any. Answers have at most ``max_tokens`` tokens.
        Raises what ``load`` and the model raise; a later call goes on after the last logged answer.
        """
        sampling, log = sampling_for(self._picked, max_tokens), self._logs.of("delivered")
        if self.is_answered("delivered"):
            return

        model, progress = load(), self._progress
        self._ask(
            "delivered",
            log,
            lambda questions: ask_delivered(
                questions, model, sampling, log, batch_size=batch_size, progress=progress, among=self.questions
            ),
        )

    def ask_served(
        self,
        connect: Callable[[ReceiptNumbers], InferenceClient],
        load: Callable[[], Model],
        max_tokens: int,
        at_once: int = 1,
    ) -> None:
        """Asks the endpoint the questions that it has not answered yet, with at most ``at_once`` calls under way.

        ``connect`` is given the numbers of the receipts that are logged already. The base model's scores come from the
        delivered session where there is one, else from ``load``'s model. Raises as `InferenceClient.generate` does.
        """
        sampling, log = sampling_for(self._picked, max_tokens), self._logs.of("served")
        if self.is_answered("served"):
            return
        measured = self._logs.of("delivered").entries

        def base_scores(item: Question) -> tuple[str, ...]:
            known = measured.get(item.digest)
            if known is not None and known.base:
                return known.base
            scores = load().scores(item.reference, item.completions, tuned=False)
            return tuple(format_logprob(score) for score in scores)

        endpoint = connect(numbers_of(self._logs.served_so_far))
        self._ask(
            "served",
            log,
            lambda questions: ask_served(
                questions,
                endpoint,
                base_scores,
                sampling,
                log,
                at_once=at_once,
                progress=self._progress,
                among=self.questions,
            ),
        )

    def evidence(self) -> Evidence:
        """The evidence bundle of this session, with the observations of every mode that was asked.

        Raises `StepError` when none was, and `OutOfOrderError` where the endpoint left out the number of a receipt.
        Under sequential stopping it opens the leaves up to the last one that any mode was asked, and no others.
        """
        logs = [(mode, self._logs.of(mode)) for mode in MODES]
        observations = [
            observe(mode, self.questions, log, receipts_of(self._logs.served_so_far) if mode == "served" else ())
            for mode, log in logs
            if log.entries
        ]
        if not observations:
            raise StepError("nothing was asked yet; run the step 'challenge' first", step="challenge")
        if self._logs.of("served").entries:
            # Where no answer is missing, nothing is asked again; the audit would refuse the gap as the client's fault.
            numbers_of(self._logs.served_so_far).require_whole()
        return build_evidence(
            self._commitment,
            self._secrets.generators,
            replace(self._picked, leaves=self._picked.leaves[: self._opened(log for _, log in logs)]),
            self._train,
            self._papers.contract(),
            self._papers.dataset_receipt(),
            self._papers.training_receipt(),
            observations,
        )

    def _ask(self, mode: Mode, log: AnswerLog, ask: Callable[[Sequence[Question]], None]) -> None:
        """Asks every question; under sequential stopping leaf by leaf, until the verdict's own rules let it end.

        A challenge that was interrupted first completes the leaves that it had begun.
        """
        if self._steps is None:
            ask(self.questions)
            return
        begun = self._begun(mode, log, self._steps)
        while True:
            asked = self._steps[:begun]
            if not all(step.is_answered(log.entries) for step in asked):
                ask([item for step in asked for item in step.questions])
            if self._is_enough(mode, log, asked):
                return
            begun += LEAVES_AT_ONCE[mode]

    def _begun(self, mode: Mode, log: AnswerLog, steps: Sequence[SequentialStep]) -> int:
        """Number of steps that a challenge has begun, rounded up to its next test of the evidence."""
        once = LEAVES_AT_ONCE[mode]
        return -(-steps_begun(steps, log.entries) // once) * once

    def _is_enough(self, mode: Mode, log: AnswerLog, asked: Sequence[SequentialStep]) -> bool:
        """True when a mode may stop after these steps, whose questions are all answered."""
        if self._steps is None or len(asked) == len(self._steps):
            return True
        return bool(asked) and is_settled(self._judge(mode, log, asked))

    def _judge(self, mode: Mode, log: AnswerLog, asked: Sequence[SequentialStep]) -> Judgement:
        """The judgement on one mode as it would be if the challenge stopped after these steps."""
        terms = self._manifest.verification
        questions = [item for step in asked for item in step.questions]
        leaves = self._picked.leaves[: _leaves_of(asked)]
        look = look_of(
            [(leaf, self._picked.canaries[leaf]) for leaf in leaves],
            self._secrets.generators,
            observe(mode, questions, log),
            terms.policy,
            len(self._picked.leaves),
        )
        judgement = judge(terms.policy, self._manifest.dataset.rows, [look])
        self._show(mode, judgement.modes[0].influence)
        return judgement

    def _show(self, mode: Mode, claim: InfluenceClaim) -> None:
        """Reports as progress the evidence for claim 1 so far, in powers of ten, and how much is needed."""
        needed = 0 if claim.log10_needed is None else ceil(-Decimal(claim.log10_needed))
        self._progress(f"-log10 p ({mode})", int(-Decimal(claim.log10_p)), needed)

    def _opened(self, logs: Iterable[AnswerLog]) -> int:
        """Number of leading leaves that the evidence opens."""
        if self._steps is None:
            return len(self._picked.leaves)
        return max(_leaves_of(self._steps[: steps_begun(self._steps, log.entries)]) for log in logs)


def _leaves_of(asked: Sequence[SequentialStep]) -> int:
    """Number of leaves up to the last one of these leading steps, padding between them included."""
    return asked[-1].place + 1 if asked else 0
