"""Telemetry: structured logs that never hold what clients send.

In      events, exceptions
Out     log lines on standard error
Reads   nothing
Never   contracts, jobs, storage, torch, grpc
Start   logs.configure_logs, logs.get_logger

An exception is told by its kind and place. Its message may quote a client's row, so it is left out.

>>> from veritune.provider.telemetry.logs import describe
>>> try:
...     raise ValueError("a row of a client")
... except ValueError as error:
...     print(describe(error).partition(" at ")[0])
ValueError
"""
