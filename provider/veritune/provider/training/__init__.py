"""Training: LoRA training behind one Protocol, in a worker process of its own.

In      a task: base model, data set, recipe
Out     an adapter, checkpoints, a step-by-step trace
Reads   common; provider.hardware, provider.models, provider.telemetry
Never   contracts, jobs, storage, rpc, grpc
Start   base.Trainer, worker, worker_protocol

Batches hold rows of like length, and each row once an epoch.

>>> from veritune.provider.training.batching import LengthGroupedBatches
>>> batches = LengthGroupedBatches([3, 90, 4, 91], batch_size=2, seed=0)
>>> sorted(map(sorted, batches))
[[0, 2], [1, 3]]
"""
