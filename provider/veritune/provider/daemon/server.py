"""Builds the daemon from its parts, serves it over TLS, and stops it in order."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from veritune.common.keys import PrivateKey
from veritune.common.limits import LIMITS
from veritune.provider.clock import Clock
from veritune.provider.contracts.contracts import Contracts
from veritune.provider.contracts.gate import Gate
from veritune.provider.contracts.uploads import Uploads
from veritune.provider.daemon.config import ConfigError, ProviderConfig
from veritune.provider.hardware.accelerator import Accelerator
from veritune.provider.jobs.changes import Changes
from veritune.provider.jobs.child_process import ChildProcessExecutor
from veritune.provider.jobs.jobs import JobOptions, Jobs
from veritune.provider.jobs.runner import Runner
from veritune.provider.jobs.sign_off import SignOff
from veritune.provider.models.catalog import ModelCatalog, find_models
from veritune.provider.receipts import Receipts
from veritune.provider.rpc.inference_service import InferenceService
from veritune.provider.rpc.provider_service import ProviderService
from veritune.provider.serving.answering import Answering
from veritune.provider.serving.engine_pool import EngineFactory, Serving
from veritune.provider.storage.adapters import AdapterFolders
from veritune.provider.storage.blobs import BlobStore
from veritune.provider.storage.store import Store
from veritune.provider.telemetry.logs import get_logger
from veritune.v1 import inference_service_pb2, provider_service_pb2
from veritune.v1.inference_service_pb2_grpc import add_InferenceServiceServicer_to_server
from veritune.v1.provider_service_pb2_grpc import add_ProviderServiceServicer_to_server

DEFAULT_TRAINER = (sys.executable, "-m", "veritune.provider.training.worker")
"""The command of a training worker, without its task file."""
SERVICES = (
    provider_service_pb2.DESCRIPTOR.services_by_name["ProviderService"].full_name,
    inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
)
_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * LIMITS.chunk),
    ("grpc.max_metadata_size", 2 * LIMITS.token),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

_log = get_logger("server")


class Daemon:
    """A gRPC server with all parts of a provider; it can be started once and stopped once.

    ``port`` is the TCP port, known after `start`.
    """

    def __init__(
        self,
        config: ProviderConfig,
        key: PrivateKey,
        models: ModelCatalog,
        store: Store,
        trainer_command: Sequence[str],
        engine_factory: EngineFactory,
        clock: Clock,
        lock: TextIO,
    ) -> None:
        self.port = 0
        self._config = config
        self._models = models
        self._store = store
        self._lock = lock
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # missing in the stubs
        blobs = BlobStore(config.state / "blobs")
        receipts = Receipts(key, clock)
        contracts = Contracts(store, key, models, config.policy, clock)
        gate = Gate(contracts, store, key.public.key_id, clock)
        self._accelerator = Accelerator(config.while_training)
        self._serving = Serving(engine_factory, config.max_adapters)
        changes = Changes()
        executor = ChildProcessExecutor(
            config.state.absolute() / "jobs", trainer_command, config.stop_grace_seconds, config.threads
        )
        runner = Runner(
            store,
            blobs,
            contracts,
            models,
            executor,
            SignOff(store, blobs, receipts),
            self._training,
            changes,
            clock,
            config.policy.max_cut_rows,
        )
        options = JobOptions(config.parallel_jobs, config.policy.max_queued_jobs, config.stop_grace_seconds)
        self._jobs = Jobs(store, contracts, runner, changes, clock, options)
        uploads = Uploads(store, blobs, contracts, receipts, config.upload_idle_seconds)
        self._provider = ProviderService(
            key.public.key_id, config.policy, models, contracts, gate, uploads, self._jobs, blobs
        )
        answering = Answering(
            contracts,
            models,
            AdapterFolders(config.state / "adapters", blobs),
            store,
            receipts,
            self._serving,
            self._accelerator,
            config.policy.max_answers,
        )
        self._inference = InferenceService(gate, answering)
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Resumes unfinished jobs and begins to listen; returns when the server is ready.

        Raises `ConfigError` if the address or the certificate can't be used, or for an unknown model to preload.
        """
        self._server = server = grpc.aio.server(
            options=_OPTIONS, maximum_concurrent_rpcs=self._config.max_concurrent_calls
        )
        add_ProviderServiceServicer_to_server(self._provider, server)  # type: ignore[no-untyped-call]  # protoc's
        add_InferenceServiceServicer_to_server(self._inference, server)  # type: ignore[no-untyped-call]  # protoc's
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            credentials = grpc.ssl_server_credentials([_certificate(self._config)])
            self.port = server.add_secure_port(self._config.listen, credentials)
        except (OSError, RuntimeError) as error:
            raise ConfigError(f"can't listen on {self._config.listen} with that certificate") from error
        for name in self._config.preload:
            model = next((item for item in self._models.models if item.name == name), None)
            if model is None:
                raise ConfigError(f"preload: there is no base model {name}")
            await self._serving.preload(model.folder)
        await self._jobs.start()
        await server.start()
        for name in ("", *SERVICES):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Stops calls, then workers, each within ``stop_grace_seconds``; the next start resumes unfinished jobs."""
        await self._health.enter_graceful_shutdown()
        await self._jobs.close_watchers()
        if self._server is not None:
            await self._server.stop(self._config.stop_grace_seconds)
        await self._jobs.stop()
        await self._serving.free()
        self._store.close()
        self._lock.close()

    async def serve(self, ready: asyncio.Event | None = None) -> None:
        """Starts the daemon, waits for SIGTERM or SIGINT, and stops it; ``ready`` is set once it has started.

        Raises `ConfigError` as `start` does.
        """
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        await self.start()
        if ready is not None:
            ready.set()
        await ended.wait()
        _log.info("stopping")
        await self.stop()

    @asynccontextmanager
    async def _training(self) -> AsyncIterator[None]:
        """The machine, for as long as a job trains on it."""
        async with self._accelerator.training():
            if self._config.free_engine_for_training:
                await self._serving.free()
            yield


def build_server(
    config: ProviderConfig,
    key: PrivateKey,
    *,
    engine_factory: EngineFactory,
    trainer_command: Sequence[str] = DEFAULT_TRAINER,
    clock: Clock = lambda: datetime.now(UTC),
) -> Daemon:
    """A daemon with its state folder opened and its base models hashed; it does not listen yet.

    Must be called in an event loop. ``trainer_command`` is run in a job's own folder, with the absolute path of the
    job's task file as its last argument. Raises `ConfigError` if another daemon uses the state folder, `StoreError` for
    a database that can't be used.
    """
    config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _claim(config.state)
    offered = find_models(config.models)
    if not offered:
        get_logger("server").warning("no base model: each needs a folder with a config.json", folder=str(config.models))
    models = ModelCatalog(offered)
    store = Store(config.database_url)
    return Daemon(config, key, models, store, trainer_command, engine_factory, clock, lock)


def _claim(state: Path) -> TextIO:
    """The locked file ``daemon.lock``: two daemons over one state folder would run each job twice.

    Raises `ConfigError` if another daemon holds the lock.
    """
    file = (state / "daemon.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ConfigError(f"another daemon is using {state}") from error
    os.set_inheritable(file.fileno(), False)
    return file


def _certificate(config: ProviderConfig) -> tuple[bytes, bytes]:
    return config.tls_key.read_bytes(), config.tls_cert.read_bytes()
