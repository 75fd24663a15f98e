"""The steps of a run. Each returns at once if it is done, and resumes if it was interrupted.

The folder must be locked while a step runs: `veritune.client.run.run.Run` does so, and says there what all steps raise.
The docstrings here name only what a step raises besides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from veritune.client.run.context import RunContext
from veritune.client.run.offer import build_manifest
from veritune.client.sowing.prepared import PreparedFigures
from veritune.client.workspace.papers import require_before
from veritune.common.canonical import canonical_bytes, sha256_hex
from veritune.common.dataset import read_rows
from veritune.common.documents.base import format_time
from veritune.common.documents.manifest import Manifest
from veritune.common.documents.receipts import FailureReceipt
from veritune.common.envelope import Envelope
from veritune.common.errors import TrainingError, WrongFileError
from veritune.common.files import own_file, write_atomic
from veritune.common.signing import Signed, open_document, sign_document

# Everything that loads torch, gRPC or the statistics is imported where it is used, so that a step loads only its own.
if TYPE_CHECKING:
    from veritune.arbiter.documents.evidence import Evidence
    from veritune.arbiter.documents.judgement import Mode
    from veritune.arbiter.documents.statement import TaskScore
    from veritune.client.challenge.run import ChallengeRun
    from veritune.client.exchange.channel import Channel
    from veritune.client.exchange.provider_client import ProviderClient
    from veritune.client.redteam.attack import RedTeam
    from veritune.client.redteam.detectors.base_model import BaseModel
    from veritune.client.redteam.figures import RedTeamFigures
    from veritune.client.run.report import SignedReport


def prepare(run: RunContext) -> PreparedFigures:
    """The figures of the training set, after sowing canaries into the user's rows and committing to them.

    Raises `RowsError`, `PlanError`, `JobError`, `ModelFolderError` or `EndpointError`.
    """
    from veritune.client.run.prepare import base_digest, prepare_inputs, sow_job

    base = base_digest(run.job)
    inputs = prepare_inputs(run.job, base)
    if not run.workspace.is_done("prepare", inputs):
        figures = sow_job(run.job, base, run.workspace.root, run.keys.passphrase, run.progress)
        write_atomic(run.workspace.prepared, figures.to_bytes())
        run.workspace.finish("prepare", inputs)
    return prepared(run)


def prepared(run: RunContext) -> PreparedFigures:
    """The figures that `prepare` wrote. Raises `StepError` if it hasn't, `BadFileError` for a damaged file."""
    path = run.workspace.require(run.workspace.prepared, "prepare")
    return PreparedFigures.from_file(path)


def red_team(run: RunContext, wanted: RedTeam | None, out: Path | None) -> RedTeamFigures:
    """How well detectors find the canaries in the prepared rows; results are written into ``out`` or the run's folder.

    Raises `WrongFileError` for a training set that was changed, `RowsError` if it has no canaries or no plain rows, and
    what `redteam.attack.run_attack` raises.
    """
    from veritune.client.redteam.attack import PreparedForRedTeam, RedTeam, run_attack
    from veritune.client.run.prepare import base_digest
    from veritune.client.sowing.sealed import open_sealed

    def load_model() -> BaseModel:
        from veritune.client.redteam.detectors.base_model import BaseModel

        return BaseModel(run.job.model, run.job.file.challenge.precision)

    wanted, space = wanted or RedTeam(), run.workspace
    train_set = space.require(space.train, "prepare")
    secrets = open_sealed(space.require(space.secrets, "prepare"), run.keys.passphrase)
    rows = PreparedForRedTeam(train_set, secrets, wanted.sample)
    return run_attack(wanted, rows, load_model, lambda: base_digest(run.job), out or space.root, run.progress)


def negotiate(run: RunContext) -> Manifest:
    """The contract, once the provider has signed the offered bytes. Raises `PolicyError` if it refuses."""
    figures, space = prepared(run), run.workspace
    inputs = _contract_inputs(run, figures)
    if not space.is_done("negotiate", inputs):
        with _provider_client(run) as client:
            client.provider_info()
            offered = offer(run, figures)
            space.save_envelope(space.offer, offered)
            space.save_envelope(space.contract, client.negotiate(offered).envelope)
        space.finish("negotiate", inputs)
    return run.papers.contract().document


def offer(run: RunContext, figures: PreparedFigures) -> Envelope:
    """The signed offer: an earlier one with the same terms if it can still be accepted, else a new one."""
    fresh = build_manifest(
        run.job.file,
        figures.summary(),
        figures.sown(),
        figures.base_digest,
        run.keys.client.public,
        run.keys.provider,
        run.now(),
        run.workspace.state().nonce,
    )
    old = run.papers.usable_offer(fresh, run.now())
    return old if old is not None else sign_document(fresh, run.keys.client)


def train(run: RunContext) -> None:
    """Uploads the training set, starts the job, waits for its end and downloads the adapter.

    Raises `TrainingError` if the job failed, `WrongFileError` if the training set isn't the contract's.
    """
    contract, space = run.papers.contract(), run.workspace
    if space.is_done("train", contract.digest):
        return
    with _provider_client(run) as client:
        if not space.dataset_receipt.exists():
            _check_train_set(run, contract.document)
            receipt = client.upload(contract, space.train, run.progress)
            space.save_envelope(space.dataset_receipt, receipt.envelope)
        if not space.training_receipt.exists():
            _follow(run, client, contract)
        client.download(contract, run.papers.training_receipt().document, space.adapter, run.progress)
    space.finish("train", contract.digest)


def challenge(run: RunContext, session: int, modes: tuple[Mode, ...]) -> None:
    """Asks a session's questions: the delivered adapter first, then the endpoint, unless ``modes`` leaves one out.

    Raises `LateError`, `UsageError`, `WrongFileError` or `PlanError`, as `Run.challenge` says.
    """
    contract, receipt, terms = run.papers.contract(), run.papers.training_receipt(), run.job.file.challenge
    asked = challenge_run(run, session)
    left = [mode for mode in modes or terms.modes if not asked.is_answered(mode)]
    if left:
        require_before(run.now(), contract.document.deadlines.challenge, "challenge")
    if "delivered" in left:
        asked.ask_delivered(lambda: run.models.tuned, terms.max_tokens, terms.batch_size)
    if "served" in left:
        from veritune.client.exchange.inference_client import InferenceClient

        with _channel(run) as channel:
            asked.ask_served(
                lambda known: InferenceClient(
                    channel, run.keys.provider, contract.digest, receipt.digest, receipt.document.job_id, known
                ),
                lambda: run.models.base,
                terms.max_tokens,
                terms.calls_at_once,
            )


def challenge_run(run: RunContext, session: int) -> ChallengeRun:
    """The questions of a session, with the answers that are on disk.

    Raises `UsageError` for a session that the contract doesn't allow, `WrongFileError` if secrets, data set and
    contract don't belong together.
    """
    from veritune.client.challenge.run import ChallengeRun
    from veritune.client.sowing.sealed import open_sealed

    secrets = open_sealed(run.workspace.require(run.workspace.secrets, "prepare"), run.keys.passphrase)
    return ChallengeRun(run.workspace, run.papers, secrets, session, run.progress)


def score_task(run: RunContext) -> TaskScore | None:
    """The task's score on held-out rows, before and after training; None if the job asks for none.

    Raises `WrongFileError` for a model or adapter that isn't the contract's.
    """
    from veritune.client.challenge import task_score

    space, terms = run.workspace, run.job.file.challenge
    if not space.task_score.exists() and terms.task_rows:
        held_out = space.require(space.held_out, "prepare")
        with own_file(held_out):
            rows = list(islice(read_rows(held_out), terms.task_rows))
        score = task_score.score_task(
            rows, run.models.tuned, terms.task_tokens, batch_size=terms.batch_size, progress=run.progress
        )
        write_atomic(space.task_score, score.to_bytes())
    return _written_score(run)


def report(run: RunContext, session: int) -> SignedReport:
    """The signed report of a session. It is written only if it passes the audit; else `AuditError` is raised."""
    from veritune.arbiter.audit.audit import audit
    from veritune.arbiter.documents.statement import Overhead
    from veritune.arbiter.report import report_statement
    from veritune.client.run.report import sign_report

    figures, space = prepared(run), run.workspace
    evidence = challenge_run(run, session).evidence()
    done = _written_report(run, session, evidence)
    if done is not None:
        return done
    overhead = Overhead(extra_rows=figures.extra_rows, extra_tokens_percent=figures.extra_tokens_percent)
    statement = report_statement(evidence, format_time(run.now()), overhead, _written_score(run))
    signed = sign_report(statement, run.keys.client)
    # A report that an arbiter would reject must not be written.
    audit(signed.report.to_json(), evidence.to_bytes(), run.keys.client.public, run.keys.provider)
    write_atomic(space.evidence(session), evidence.to_bytes())
    space.save_envelope(space.derived(session, "test-result"), signed.test_result)
    if signed.svr is not None:
        space.save_envelope(space.derived(session, "svr"), signed.svr)
    space.save_envelope(space.report(session), signed.report)
    return signed


def _contract_inputs(run: RunContext, figures: PreparedFigures) -> str:
    """The digest of all that decides what the contract says, except its nonce and the dates of its deadlines."""
    file = run.job.file
    terms = {
        "prepared": figures.model_dump(mode="json"),
        "provider": run.keys.provider.key_id,
        "client": run.keys.client.public.key_id,
        **{name: getattr(file, name).model_dump(mode="json") for name in ("training", "policy", "deadlines", "price")},
        "model": file.model.name,
        "licence": file.data.licence,
    }
    return sha256_hex(canonical_bytes(terms))


def _check_train_set(run: RunContext, manifest: Manifest) -> None:
    with run.workspace.require(run.workspace.train, "prepare").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest.dataset.sha256:
            raise WrongFileError(
                f"{run.workspace.train.name} is not the data set that the contract names", what="dataset"
            )


def _follow(run: RunContext, client: ProviderClient, contract: Signed[Manifest]) -> None:
    """Starts the job, or finds it again, and saves its training receipt. Raises `TrainingError` if it failed."""
    from veritune.client.exchange.provider_client import describe_failure

    space, dataset_receipt = run.workspace, run.papers.dataset_receipt()
    # A job that failed has left its receipt, so the number of receipts tells the next attempt's request id.
    attempt = len(list(space.root.glob("failure-receipt-*.json"))) + 1
    job_id = client.start(contract, f"{space.state().nonce[:32]}-{attempt}")
    write_atomic(space.job_id, job_id.encode("ascii"))
    receipt = client.watch(contract, dataset_receipt, job_id, run.on_training)
    if isinstance(receipt.document, FailureReceipt):
        space.save_envelope(space.failure_receipt(attempt), receipt.envelope)
        raise TrainingError(describe_failure(receipt.document))
    space.save_envelope(space.training_receipt, receipt.envelope)


def _written_score(run: RunContext) -> TaskScore | None:
    from veritune.arbiter.documents.statement import TaskScore

    path = run.workspace.task_score
    return TaskScore.from_file(path) if path.exists() else None


def _written_report(run: RunContext, session: int, evidence: Evidence) -> SignedReport | None:
    """The report that was signed for this evidence, or None; so the same evidence is never reported on twice."""
    from veritune.arbiter.documents.statement import ReportStatement
    from veritune.client.run.report import SignedReport

    space, svr = run.workspace, run.workspace.derived(session, "svr")
    if not space.report(session).exists():
        return None
    envelope = space.load_envelope(space.report(session), "report")
    with own_file(space.report(session)):
        statement = open_document(ReportStatement, envelope, run.keys.client.public).document
    done = SignedReport(
        statement=statement,
        report=envelope,
        test_result=space.load_envelope(space.derived(session, "test-result"), "report"),
        svr=space.load_envelope(svr, "report") if svr.exists() else None,
    )
    return done if done.statement.predicate.chain.evidence == sha256_hex(evidence.to_bytes()) else None


@contextmanager
def _channel(run: RunContext) -> Iterator[Channel]:
    from veritune.client.exchange.channel import Channel

    address = run.job.file.provider.address
    with Channel(address, run.keys.client, run.keys.provider, run.job.tls_ca, now=run.now) as channel:
        yield channel


@contextmanager
def _provider_client(run: RunContext) -> Iterator[ProviderClient]:
    from veritune.client.exchange.provider_client import ProviderClient

    with _channel(run) as channel:
        yield ProviderClient(channel, run.keys.client.public, run.keys.provider)
