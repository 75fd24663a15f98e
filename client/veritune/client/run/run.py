"""The Python API: one run from the user's rows to a verdict. The CLI is a thin layer over it.

    from veritune.client.api import Job, Run

    run = Run(Job.load("veritune.toml"), passphrase=b"...")
    report = run.all()
    print(report.statement.verdict)

Every step may be called alone, in the order prepare, negotiate, train, challenge, report. One that is done already
returns at once; one that was broken off goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from veritune.client.job.file import Job
from veritune.client.progress import Progress, no_progress
from veritune.client.run.offer import build_manifest
from veritune.client.sowing.prepared import PreparedFigures
from veritune.client.workspace.folder import Workspace
from veritune.client.workspace.papers import Paperwork, check_files, load_private_key, require_before
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import read_rows
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import FailureReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import DigestError, TrainingError
from veritune.common.files import read_limited, write_atomic
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.limits import LIMITS
from veritune.common.model.files import model_digest
from veritune.common.signing import sign_document
from veritune.common.timestamps import format_time

# Everything that loads torch, gRPC or the statistics is imported where it is used, so that a step loads only its own.
if TYPE_CHECKING:
    from veritune.arbiter.audit.audit import AuditResult
    from veritune.arbiter.documents.evidence import Evidence
    from veritune.arbiter.documents.judgement import Mode
    from veritune.arbiter.documents.statement import TaskScore
    from veritune.arbiter.measure.local_model import LocalModel
    from veritune.client.challenge.run import ChallengeRun
    from veritune.client.exchange.channel import Channel
    from veritune.client.exchange.provider_client import JobView, ProviderClient
    from veritune.client.redteam.attack import RedTeam
    from veritune.client.redteam.detectors.base_model import BaseModel
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
        self.job = job
        self.workspace = Workspace(folder or job.folder / RUN_FOLDER)
        self._ask_passphrase = passphrase
        self._progress, self._on_training, self._now = progress, on_training, now
        self._depth = 0

    def all(self, session: int = 1) -> SignedReport:
        """Every step that is not done yet."""
        with self._locked():
            self.prepare()
            self.negotiate()
            self.train()
            self.challenge(session)
            self.score_task()
            return self.report(session)

    def prepare(self) -> PreparedFigures:
        """Sows canaries into the user's rows and commits to them. Raises `DatasetError`, `PlanError`, `JobError`."""
        with self._locked():
            from veritune.client.run.prepare import base_digest, prepare_inputs, sow_job

            base = base_digest(self.job)
            inputs = prepare_inputs(self.job, base)
            if not self.workspace.is_done("prepare", inputs):
                figures = sow_job(self.job, base, self.workspace.root, self._passphrase, self._progress)
                write_atomic(self.workspace.prepared, figures.to_bytes())
                self.workspace.finish("prepare", inputs)
            return self.prepared()

    def red_team(self, wanted: RedTeam | None = None, out: Path | None = None) -> RedTeamFigures:
        """Looks for the canaries in the prepared rows as a provider might; writes into ``out`` or the run's folder.

        Raises `DigestError` for a training set that was changed, and what `redteam.attack.run_attack` raises.
        """
        from veritune.client.redteam.attack import PreparedForRedTeam, RedTeam, run_attack
        from veritune.client.run.prepare import base_digest
        from veritune.client.sowing.sealed import open_sealed

        def load_model() -> BaseModel:
            from veritune.client.redteam.detectors.base_model import BaseModel

            return BaseModel(self.job.model, self.job.file.challenge.precision)

        wanted = wanted or RedTeam()
        with self._locked():
            space = self.workspace
            train = space.require(space.train, "prepare")
            secrets = open_sealed(space.require(space.secrets, "prepare"), self._passphrase)
            prepared = PreparedForRedTeam(train, secrets, wanted.sample)
            folder = out or space.root
            return run_attack(wanted, prepared, load_model, lambda: base_digest(self.job), folder, self._progress)

    def negotiate(self) -> Manifest:
        """Offers the contract and returns it once the provider has signed the same bytes. Raises `PolicyError`."""
        with self._locked():
            figures = self.prepared()
            inputs = self._contract_inputs(figures)
            if not self.workspace.is_done("negotiate", inputs):
                with self._provider_client() as session:
                    session.provider_info()
                    offer = self._offer(figures)
                    self.workspace.save_envelope(self.workspace.offer, offer)
                    self.workspace.save_envelope(self.workspace.contract, session.negotiate(offer))
                self.workspace.finish("negotiate", inputs)
            return self.papers.contract()[1]

    def train(self) -> None:
        """Uploads, starts training, follows it and fetches the adapter. Raises `TrainingError` when there is none."""
        with self._locked():
            contract, manifest = self.papers.contract()
            if self.workspace.is_done("train", contract.digest):
                return
            with self._provider_client() as session:
                if not self.workspace.dataset_receipt.exists():
                    self._check_train_set(manifest)
                    receipt = session.upload(contract, manifest, self.workspace.train, self._progress)
                    self.workspace.save_envelope(self.workspace.dataset_receipt, receipt)
                if not self.workspace.training_receipt.exists():
                    self._follow(session, contract, manifest)
                receipt, training = self.papers.training_receipt()
                session.download(contract, manifest, training, self.workspace.adapter, self._progress)
            self.workspace.finish("train", contract.digest)

    def challenge(self, session: int = 1, modes: tuple[Mode, ...] = ()) -> None:
        """Asks the session's canaries: the delivered adapter first, then the endpoint.

        ``modes`` defaults to the job's.
        """
        with self._locked():
            contract, manifest = self.papers.contract()
            receipt, training = self.papers.training_receipt()
            terms = self.job.file.challenge
            challenge_run = self._challenge_run(session)
            left = [mode for mode in modes or terms.modes if not challenge_run.is_answered(mode)]
            if left:
                require_before(self._now(), manifest.deadlines.challenge, "challenge")
            if "delivered" in left:
                challenge_run.ask_delivered(lambda: self._tuned_model, terms.max_tokens, terms.batch_size)
            if "served" in left:
                from veritune.client.exchange.inference_client import InferenceClient

                with self._channel() as channel:
                    challenge_run.ask_served(
                        lambda known: InferenceClient(
                            channel, self.provider_key, contract.digest, receipt.digest, training.job_id, known
                        ),
                        lambda: self._base_model,
                        terms.max_tokens,
                        terms.calls_at_once,
                    )

    def score_task(self) -> TaskScore | None:
        """The task's score on held-out rows before and after training; None where the job asks for none."""
        from veritune.arbiter.documents.statement import TaskScore
        from veritune.client.challenge.task_score import score_task

        with self._locked():
            path, terms = self.workspace.task_score, self.job.file.challenge
            if not path.exists() and terms.task_rows:
                rows = list(
                    islice(read_rows(self.workspace.require(self.workspace.held_out, "prepare")), terms.task_rows)
                )
                score = score_task(
                    rows, self._tuned_model, terms.task_tokens, batch_size=terms.batch_size, progress=self._progress
                )
                write_atomic(path, score.to_bytes())
            return TaskScore.from_bytes(read_limited(path, LIMITS.document)) if path.exists() else None

    def report(self, session: int = 1) -> SignedReport:
        """Judges, audits its own evidence, signs, and writes report, evidence and derived statements."""
        from veritune.arbiter.audit.audit import audit
        from veritune.arbiter.documents.statement import Overhead, TaskScore
        from veritune.arbiter.report import report_statement
        from veritune.client.run.report import sign_report

        with self._locked():
            figures = self.prepared()
            evidence = self._challenge_run(session).evidence()
            done = self._written_report(session, evidence)
            if done is not None:
                return done
            task = None
            if self.workspace.task_score.exists():
                task = TaskScore.from_bytes(read_limited(self.workspace.task_score, LIMITS.document))
            overhead = Overhead(extra_rows=figures.extra_rows, extra_tokens_percent=figures.extra_tokens_percent)
            signed = sign_report(report_statement(evidence, format_time(self._now()), overhead, task), self.client_key)
            # What would not convince an arbiter is not written.
            audit(signed.report.to_json(), evidence.to_bytes(), self.client_key.public, self.provider_key)
            write_atomic(self.workspace.evidence(session), evidence.to_bytes())
            self.workspace.save_envelope(self.workspace.derived(session, "test-result"), signed.test_result)
            if signed.svr is not None:
                self.workspace.save_envelope(self.workspace.derived(session, "svr"), signed.svr)
            self.workspace.save_envelope(self.workspace.report(session), signed.report)
            return signed

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
        """The figures of what was prepared. Raises `OutOfOrderError` before `prepare`."""
        path = self.workspace.require(self.workspace.prepared, "prepare")
        return PreparedFigures.from_bytes(read_limited(path, LIMITS.document))

    @cached_property
    def client_key(self) -> PrivateKey:
        """The user's key."""
        return load_private_key(self.job.client_key, lambda: self._passphrase)

    @cached_property
    def provider_key(self) -> PublicKey:
        """The provider's pinned key."""
        return PublicKey.load(self.job.provider_key)

    @cached_property
    def papers(self) -> Paperwork:
        """Contract and receipts of this run."""
        return Paperwork(self.workspace, self.client_key.public, self.provider_key)

    @cached_property
    def _passphrase(self) -> bytes:
        asked = self._ask_passphrase
        return asked() if callable(asked) else asked

    @cached_property
    def _base_model(self) -> LocalModel:
        """The base model; with the adapter over it once `_tuned_model` was used."""
        from veritune.arbiter.measure.local_model import LocalModel

        if model_digest(self.job.model) != self.papers.contract()[1].base_model.digest:
            raise DigestError(f"{self.job.model} is not the base model that the contract names")
        self._progress("load base model", 0, 0)
        return LocalModel(self.job.model, self.job.file.challenge.precision)

    @cached_property
    def _tuned_model(self) -> LocalModel:
        _, manifest = self.papers.contract()
        check_files(self.workspace.adapter, self.papers.training_receipt()[1])
        self._base_model.attach(self.workspace.adapter, manifest.training)
        return self._base_model

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

    @contextmanager
    def _channel(self) -> Iterator[Channel]:
        from veritune.client.exchange.channel import Channel

        with Channel(
            self.job.file.provider.address, self.client_key, self.provider_key, self.job.tls_ca, now=self._now
        ) as channel:
            yield channel

    @contextmanager
    def _provider_client(self) -> Iterator[ProviderClient]:
        from veritune.client.exchange.provider_client import ProviderClient

        with self._channel() as channel:
            yield ProviderClient(channel, self.client_key.public, self.provider_key)

    def _challenge_run(self, session: int) -> ChallengeRun:
        from veritune.client.challenge.run import ChallengeRun
        from veritune.client.sowing.sealed import open_sealed

        path = self.workspace.require(self.workspace.secrets, "prepare")
        return ChallengeRun(self.workspace, self.papers, open_sealed(path, self._passphrase), session, self._progress)

    def _contract_inputs(self, figures: PreparedFigures) -> str:
        file = self.job.file
        terms = {
            "prepared": figures.model_dump(mode="json"),
            "provider": self.provider_key.key_id,
            "client": self.client_key.public.key_id,
            **{
                name: getattr(file, name).model_dump(mode="json")
                for name in ("training", "policy", "deadlines", "price")
            },
            "model": file.model.name,
            "licence": file.data.licence,
        }
        return sha256_hex(canonical_bytes(terms))

    def _offer(self, figures: PreparedFigures) -> Envelope:
        """The offer that was sent before, if it still stands, else a new one."""
        fresh = build_manifest(
            self.job.file,
            figures.summary(),
            figures.sown(),
            figures.base_digest,
            self.client_key.public,
            self.provider_key,
            self._now(),
            self.workspace.state().nonce,
        )
        old = self.papers.usable_offer(fresh, self._now())
        return old if old is not None else sign_document(fresh, self.client_key)

    def _follow(self, session: ProviderClient, contract: Envelope, manifest: Manifest) -> None:
        """Starts the job, or finds it again, and waits for its receipt. Raises `TrainingError`."""
        from veritune.client.exchange.provider_client import describe_failure

        space, dataset_receipt = self.workspace, self.papers.dataset_receipt()
        # A job that failed leaves its receipt; the next attempt is another request.
        attempt = len(list(space.root.glob("failure-receipt-*.json"))) + 1
        job_id = session.start(contract, f"{space.state().nonce[:32]}-{attempt}")
        write_atomic(space.job_id, job_id.encode("ascii"))
        envelope, receipt = session.watch(contract, manifest, dataset_receipt, job_id, self._on_training)
        if isinstance(receipt, FailureReceipt):
            space.save_envelope(space.failure_receipt(attempt), envelope)
            raise TrainingError(describe_failure(receipt))
        space.save_envelope(space.training_receipt, envelope)

    def _check_train_set(self, manifest: Manifest) -> None:
        with self.workspace.require(self.workspace.train, "prepare").open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != manifest.dataset.sha256:
                raise DigestError(f"{self.workspace.train.name} is not the data set that the contract names")

    def _written_report(self, session: int, evidence: Evidence) -> SignedReport | None:
        """The report on this very evidence, if there is one: nothing is signed twice with different contents."""
        from veritune.arbiter.documents.statement import ReportStatement
        from veritune.client.run.report import SignedReport
        from veritune.common.signing import open_document

        space, svr = self.workspace, self.workspace.derived(session, "svr")
        if not space.report(session).exists():
            return None
        report = space.load_envelope(space.report(session), "report")
        done = SignedReport(
            statement=open_document(ReportStatement, report, self.client_key.public),
            report=report,
            test_result=space.load_envelope(space.derived(session, "test-result"), "report"),
            svr=space.load_envelope(svr, "report") if svr.exists() else None,
        )
        return done if done.statement.predicate.chain.evidence == sha256_hex(evidence.to_bytes()) else None
