"""The Python API: one run from the user's rows to a verdict. The command line is a thin layer over it.

    from veritune.client.api import Job, Run

    run = Run(Job.load("veritune.toml"), passphrase=b"...")
    report = run.all()
    print(report.statement.verdict)

Every step may be called alone, in the order prepare, negotiate, train, challenge, report. A step that is done returns
at once; a step that was interrupted resumes. The steps themselves are in `veritune.client.run.steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from veritune.client.job.file import Job
from veritune.client.progress import Progress, no_progress
from veritune.client.run import steps
from veritune.client.run.context import Keys, RunContext
from veritune.client.sowing.prepared import PreparedFigures
from veritune.client.workspace.folder import Workspace
from veritune.client.workspace.papers import Paperwork
from veritune.common.documents.manifest import Manifest
from veritune.common.files import read_limited
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS

# Everything that loads torch, gRPC or the statistics is imported where it is used, so that a step loads only its own.
if TYPE_CHECKING:
    from veritune.arbiter.audit.audit import AuditResult
    from veritune.arbiter.documents.judgement import Mode
    from veritune.arbiter.documents.statement import TaskScore
    from veritune.client.exchange.provider_client import JobView
    from veritune.client.redteam.attack import RedTeam
    from veritune.client.redteam.figures import RedTeamFigures
    from veritune.client.run.report import SignedReport

__all__ = ["RUN_FOLDER", "Job", "PreparedFigures", "Run"]

RUN_FOLDER = "veritune-run"


class Run:
    """One job in one folder, with a method for each step. It is not thread-safe; a lock keeps other processes out.

    Every step raises `BusyError` if another process has the lock, `StepError` if an earlier step is missing,
    `ChangedError` if data, model or terms were changed after a step, and `KeyFileError`, `SecretsError` or
    `BadFileError` for a file of ours that can't be used. Steps that talk to the provider also raise `PeerError`.
    """

    def __init__(
        self,
        job: Job,
        folder: Path | None = None,
        *,
        passphrase: bytes | Callable[[], bytes] = b"",
        progress: Progress = no_progress,
        on_training: Callable[[JobView], None] = lambda view: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens or starts the run in ``folder``, by default ``veritune-run`` beside the job file.

        ``passphrase`` seals the secrets and decrypts the client's key; a callable is called at most once, when the
        passphrase is first needed.
        """
        workspace = Workspace(folder or job.folder / RUN_FOLDER)
        self.context = RunContext(job, workspace, Keys(job, passphrase), progress, on_training, now)
        self._depth = 0

    def all(self, session: int = 1) -> SignedReport:
        """The signed report of a session, after every step that isn't done yet. Raises what the steps raise."""
        with self._locked():
            self.prepare()
            self.negotiate()
            self.train()
            self.challenge(session)
            self.score_task()
            return self.report(session)

    def prepare(self) -> PreparedFigures:
        """The figures of the training set, in which canaries are sown and committed to; nothing is sent.

        Raises `RowsError`, `PlanError`, `JobError`, `ModelFolderError` or `EndpointError`.
        """
        with self._locked():
            return steps.prepare(self.context)

    def red_team(self, wanted: RedTeam | None = None, out: Path | None = None) -> RedTeamFigures:
        """How well detectors find the canaries in the prepared rows, as a cheating provider might use them.

        The results are also written into ``out``, or the run's folder. Raises `WrongFileError` for a training set that
        was changed, `RowsError` if it has no canaries or no plain rows, and what `redteam.attack.run_attack` raises.
        """
        with self._locked():
            return steps.red_team(self.context, wanted, out)

    def negotiate(self) -> Manifest:
        """The contract, once the provider has signed the offered bytes. Raises `PolicyError` if it refuses."""
        with self._locked():
            return steps.negotiate(self.context)

    def train(self) -> None:
        """Uploads the training set, waits until the job has ended, and downloads the adapter.

        Raises `TrainingError` if the job failed, `WrongFileError` if the training set isn't the contract's.
        """
        with self._locked():
            steps.train(self.context)

    def challenge(self, session: int = 1, modes: tuple[Mode, ...] = ()) -> None:
        """Asks a session's questions: the delivered adapter first, then the provider's endpoint.

        ``modes`` may name one of the two; by default it is the job's. Raises `LateError` after the contract's deadline,
        `UsageError` for a session that the contract doesn't allow, `WrongFileError` for files that don't belong
        together, `PlanError` if ``challenge.max_tokens`` is too small.
        """
        with self._locked():
            steps.challenge(self.context, session, modes)

    def score_task(self) -> TaskScore | None:
        """The task's score on held-out rows, before and after training; None if the job asks for none."""
        with self._locked():
            return steps.score_task(self.context)

    def report(self, session: int = 1) -> SignedReport:
        """The signed report of a session, which passed an audit; it, its evidence and derived statements are written.

        Raises `AuditError` if the audit fails; nothing is written then.
        """
        with self._locked():
            return steps.report(self.context, session)

    def audit(self, session: int = 1) -> AuditResult:
        """The result of auditing the files that `report` wrote, with the two public keys.

        Raises `AuditError`, `StepError` if there is no report, `BadFileError` or `KeyFileError`.
        """
        from veritune.arbiter.audit.audit import audit

        report = self.workspace.require(self.workspace.report(session), "report")
        evidence = self.workspace.require(self.workspace.evidence(session), "report")
        return audit(
            read_limited(report, LIMITS.envelope_json),
            read_limited(evidence, LIMITS.evidence),
            self.client_key.public,
            self.provider_key,
        )

    def prepared(self) -> PreparedFigures:
        """The figures of the prepared training set. Raises `StepError` before `prepare`."""
        return steps.prepared(self.context)

    @property
    def job(self) -> Job:
        """The job file that this run follows."""
        return self.context.job

    @property
    def workspace(self) -> Workspace:
        """The folder of this run and the paths in it."""
        return self.context.workspace

    @property
    def client_key(self) -> PrivateKey:
        """The user's private key. Raises `KeyFileError`."""
        return self.context.keys.client

    @property
    def provider_key(self) -> PublicKey:
        """The provider's pinned public key. Raises `KeyFileError`."""
        return self.context.keys.provider

    @property
    def papers(self) -> Paperwork:
        """The contract and receipts of this run, verified when they are read. Raises `KeyFileError`."""
        return self.context.papers

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._depth:
            yield
            return
        with self.workspace.locked():
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
