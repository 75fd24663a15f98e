"""Measure: run the base model with the delivered adapter, and check that the adapter is plain LoRA.

In      a base model, an adapter folder, canaries to ask about
Out     answers, log-probabilities of candidate answers, checked adapters
Reads   arbiter.documents; common
Never   audit, report, statistics, verdict, client, provider, grpc
Start   local_model.LocalModel, adapter_check.check_adapter, questions.make_questions

An adapter of another rank than the contract's is refused before any model is loaded.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.arbiter.measure.adapter_check import check_adapter
>>> from veritune.common.documents.manifest import Training
>>> from veritune.common.errors import MalformedDocumentError
>>> with TemporaryDirectory() as name:
...     _ = Path(name, "adapter_model.safetensors").write_bytes(b"")
...     _ = Path(name, "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
...     try:
...         check_adapter(Path(name), Training(rank=32))
...     except MalformedDocumentError as error:
...         print(error.message)
the adapter's r is not the contract's 32
"""
