"""Serving: signed answers, by base models in memory and the adapters used last over each of them.

In      a contract, a checked question with its nonce, the adapter that a training receipt names
Out     the answer and its signed receipt; the same question gets the stored answer again
Reads   common; provider.concurrency, provider.contracts, provider.engines, provider.hardware, provider.models,
        provider.receipts, provider.storage, provider.telemetry
Never   rpc, daemon, grpc
Start   answering.Answering, engine_pool.Serving

A base model and an adapter are loaded by the first call that needs them, and kept for the next.

>>> import asyncio
>>> from pathlib import Path
>>> from veritune.provider.serving.engine_pool import Adapter, Serving
>>> from veritune.provider.telemetry.logs import configure_logs
>>> class Engine:
...     async def start(self):
...         print("loads the base model")
...     async def load_adapter(self, adapter, folder):
...         print("loads", adapter)
>>> async def folder():
...     return Path("adapter")
>>> async def answer_twice():
...     serving = Serving(lambda folder: Engine(), max_adapters=2)
...     for _ in range(2):
...         async with serving.engine(Path("smollm2"), Adapter("job-1", folder)):
...             print("answers")
>>> configure_logs(as_json=True)  # to standard error
>>> asyncio.run(answer_twice())
loads the base model
loads job-1
answers
answers
"""
