"""Hardware: who may use the processor or GPU now, and in which number format it computes.

In      a sharing rule, a wanted precision
Out     leases for training and for answers, a precision
Reads   common
Never   jobs, storage, engines, training, grpc
Start   accelerator.Accelerator, precision.pick_precision

>>> import asyncio
>>> from veritune.common.errors import UnavailableError
>>> from veritune.provider.hardware.accelerator import Accelerator
>>> async def ask_while_training() -> str:
...     accelerator = Accelerator("refuse")
...     try:
...         async with accelerator.training(), accelerator.answering():
...             return "answered"
...     except UnavailableError:
...         return "refused"
>>> asyncio.run(ask_while_training())
'refused'
"""
