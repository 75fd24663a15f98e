"""One session of one run: the questions from the sealed secrets, the answers on disk, the evidence from both."""

from __future__ import annotations

from collections.abc import Callable

from veritune.client.answer_log import AnswerLog
from veritune.client.challenge import (
    Mode,
    Model,
    ask_delivered,
    ask_served,
    observe,
    receipts_of,
    sampling_for,
    sit,
)
from veritune.client.endpoint import Endpoint
from veritune.client.evidence import Evidence
from veritune.client.evidence_builder import TrainSet, build_evidence, canary_rows
from veritune.client.paperwork import Paperwork
from veritune.client.questions import Question, make_questions
from veritune.client.rows import Progress
from veritune.client.sealed import Secrets
from veritune.client.workspace import Workspace
from veritune.common.errors import DigestError, OutOfOrderError
from veritune.common.inference import format_logprob

MODES: tuple[Mode, ...] = ("delivered", "served")


class ChallengeRun:
    """A session's questions and answers."""

    def __init__(
        self, workspace: Workspace, papers: Paperwork, secrets: Secrets, session: int, progress: Progress
    ) -> None:
        """Raises `DigestError` when secrets, data set and contract do not belong together."""
        self._workspace, self._papers, self._secrets = workspace, papers, secrets
        self._session, self._progress = session, progress
        contract, manifest = papers.contract()
        receipt, _ = papers.training_receipt()
        if secrets.commitment().root != manifest.verification.canary_root:
            raise DigestError("the sealed secrets are not those that the contract commits to")
        self._sitting = sit(secrets, manifest, contract.digest, receipt.digest, session)
        canaries = self._sitting.canaries
        self._train = TrainSet(workspace.train, manifest.dataset.merkle_root, canary_rows(canaries.values()))
        self.questions: list[Question] = make_questions(
            self._sitting.seed,
            canaries,
            self._train.rows,
            secrets.decoys,
            manifest.verification.policy.queries_per_group,
            {generator.digest: generator for generator in secrets.generators},
        )

    def is_answered(self, mode: Mode) -> bool:
        """Whether a mode has an answer to every question."""
        entries = self._log(mode).entries
        return all(item.digest in entries for item in self.questions)

    def ask_delivered(self, load: Callable[[], Model], max_tokens: int, batch_size: int) -> None:
        """Asks the delivered adapter what it has not been asked yet; ``load`` is called only if there is anything."""
        sampling, log = sampling_for(self._sitting, max_tokens), self._log("delivered")
        if not self.is_answered("delivered"):
            ask_delivered(self.questions, load(), sampling, log, batch_size=batch_size, progress=self._progress)

    def ask_served(self, connect: Callable[[int], Endpoint], load: Callable[[], Model], max_tokens: int) -> None:
        """Asks the endpoint. ``connect`` gets the number of receipts that are known.

        The base model's scores come from the delivered session where there is one, else from ``load``'s model.
        """
        sampling, log = sampling_for(self._sitting, max_tokens), self._log("served")
        if self.is_answered("served"):
            return
        measured = self._log("delivered").entries

        def base_scores(item: Question) -> tuple[str, ...]:
            known = measured.get(item.digest)
            if known is not None and known.base:
                return known.base
            scores = load().scores(item.reference, item.completions, tuned=False)
            return tuple(format_logprob(score) for score in scores)

        endpoint = connect(len(receipts_of(self._served_logs())))
        ask_served(self.questions, endpoint, base_scores, sampling, log, progress=self._progress)

    def evidence(self) -> Evidence:
        """The bundle over every mode that was asked. Raises `OutOfOrderError` when none was."""
        logs = [(mode, self._log(mode)) for mode in MODES]
        observations = [
            observe(mode, self.questions, log, receipts_of(self._served_logs()) if mode == "served" else ())
            for mode, log in logs
            if log.entries
        ]
        if not observations:
            raise OutOfOrderError("nothing was asked yet; run the step 'challenge' first")
        contract, _ = self._papers.contract()
        receipt, _ = self._papers.training_receipt()
        return build_evidence(
            self._secrets,
            self._sitting,
            self._train,
            contract,
            self._papers.dataset_receipt(),
            receipt,
            observations,
        )

    def _log(self, mode: Mode, session: int | None = None) -> AnswerLog:
        return AnswerLog(self._workspace.answers(session or self._session, mode))

    def _served_logs(self) -> list[AnswerLog]:
        """Receipts count over all sessions of a contract."""
        return [self._log("served", number) for number in range(1, self._session + 1)]
