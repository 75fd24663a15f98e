"""Model: what a model folder is, and how a model's cache and turns are read; for every party that runs one.

In      a folder of model files, a tokenizer
Out     file digests, one digest of a base model, the end-of-turn token
Reads   common.canonical, common.documents, common.errors
Never   arbiter, client, provider, torch, grpc
Start   files.model_digest

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.common.model.files import folder_files, model_digest
>>> with TemporaryDirectory() as name:
...     _ = Path(name, "config.json").write_text("{}")
...     [file.name for file in folder_files(Path(name))], len(model_digest(Path(name)))
(['config.json'], 64)
"""
