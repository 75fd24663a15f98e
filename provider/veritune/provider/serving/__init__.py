"""Serving: base models in memory, and the adapters used last over each of them.

In      a base model's folder, an adapter's folder
Out     an engine with the adapter in it for as long as a block runs
Reads   common; provider.engines, provider.telemetry
Never   rpc, daemon, grpc
Start   engine_pool.Serving

A base model and an adapter are loaded by the first call that needs them, and kept for the next.

>>> import asyncio
>>> from pathlib import Path
>>> from veritune.provider.serving.engine_pool import Serving
>>> from veritune.provider.telemetry.logs import configure_logs
>>> class Engine:
...     async def start(self):
...         print("loads the base model")
...     async def load_adapter(self, adapter, folder):
...         print("loads", adapter)
>>> async def answer_twice():
...     serving = Serving(lambda folder: Engine(), max_adapters=2)
...     for _ in range(2):
...         async with serving.engine(Path("smollm2"), "job-1", Path("adapter")):
...             print("answers")
>>> configure_logs(as_json=True)  # to standard error
>>> asyncio.run(answer_twice())
loads the base model
loads job-1
answers
answers
"""
