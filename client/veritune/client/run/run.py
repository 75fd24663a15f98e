"""The Python API: one run from the user's rows to a verdict. The CLI is a thin layer over it.

    from veritune.client.api import Job, Run

    run = Run(Job.load("veritune.toml"), passphrase=b"...")
    report = run.all()
    print(report.statement.verdict)

Every step may be called alone, in the order prepare, negotiate, train, challenge, report. One that is done already
returns at once; one that was interrupted resumes. `veritune.client.run.steps` holds the steps themselves.
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
    """One job in one folder. Not safe for several threads at once; a lock keeps other processes out."""

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
        """``folder`` is ``veritune-run`` beside the job file unless given. ``passphrase`` seals the secrets and opens
        an encrypted client key; a callable is asked once, when it is first needed."""
        workspace = Workspace(folder or job.folder / RUN_FOLDER)
        self.context = RunContext(job, workspace, Keys(job, passphrase), progress, on_training, now)
        self._depth = 0

    def all(self, session: int = 1) -> SignedReport:
        """Takes every step that is not done yet and returns the signed report."""
        with self._locked():
            self.prepare()
            self.negotiate()
            self.train()
            self.challenge(session)
            self.score_task()
            return self.report(session)

    def prepare(self) -> PreparedFigures:
        """Sows canaries into the user's rows and commits to them. Raises `RowsError`, `PlanError`, `JobError`."""
        with self._locked():
            return steps.prepare(self.context)

    def red_team(self, wanted: RedTeam | None = None, out: Path | None = None) -> RedTeamFigures:
        """Looks for the canaries in the prepared rows as a provider might; writes into ``out`` or the run's folder.

        Raises `WrongFileError` for a training set that was changed, and what `redteam.attack.run_attack` raises.
        """
        with self._locked():
            return steps.red_team(self.context, wanted, out)

    def negotiate(self) -> Manifest:
        """Offers the contract and returns it once the provider has signed the same bytes. Raises `PolicyError`."""
        with self._locked():
            return steps.negotiate(self.context)

    def train(self) -> None:
        """Uploads, starts training, follows it and fetches the adapter. Raises `TrainingError` when there is none."""
        with self._locked():
            steps.train(self.context)

    def challenge(self, session: int = 1, modes: tuple[Mode, ...] = ()) -> None:
        """Asks the session's canaries: the delivered adapter first, then the endpoint.

        ``modes`` defaults to the job's.
        """
        with self._locked():
            steps.challenge(self.context, session, modes)

    def score_task(self) -> TaskScore | None:
        """The task's score on held-out rows before and after training, or None where the job asks for none."""
        with self._locked():
            return steps.score_task(self.context)

    def report(self, session: int = 1) -> SignedReport:
        """Judges, audits its own evidence, signs, and writes report, evidence and derived statements."""
        with self._locked():
            return steps.report(self.context, session)

    def audit(self, session: int = 1) -> AuditResult:
        """Audits what `report` wrote, from the files and the two public keys alone."""
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
        """The figures of what was prepared. Raises `StepError` before `prepare`."""
        return steps.prepared(self.context)

    @property
    def job(self) -> Job:
        """The job file that this run follows."""
        return self.context.job

    @property
    def workspace(self) -> Workspace:
        """The run's folder."""
        return self.context.workspace

    @property
    def client_key(self) -> PrivateKey:
        """The user's key. Raises `KeyFileError`."""
        return self.context.keys.client

    @property
    def provider_key(self) -> PublicKey:
        """The provider's pinned key. Raises `KeyFileError`."""
        return self.context.keys.provider

    @property
    def papers(self) -> Paperwork:
        """Contract and receipts of this run."""
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
