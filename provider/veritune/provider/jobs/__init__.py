"""Jobs: the queue of training jobs, from a request to signed receipts; outlives a restart.

In      contracts with their data set in place
Out     adapters, checkpoints, training and failure receipts
Reads   common; provider.clock, provider.concurrency, provider.contracts, provider.models, provider.receipts,
        provider.storage, provider.telemetry, provider.training
Never   serving, rpc, daemon, grpc
Start   jobs.Jobs

A worker's output is read like input: only a checkpoint with its step in its name goes into a receipt.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.provider.jobs.job_output import checkpoint_refs
>>> with TemporaryDirectory() as name:
...     folder = Path(name, "checkpoint-40")
...     folder.mkdir()
...     _ = (folder / "adapter_model.safetensors").write_bytes(b"weights")
...     [checkpoint.step for checkpoint in checkpoint_refs(Path(name), ["checkpoint-40"])]
[40]
"""
