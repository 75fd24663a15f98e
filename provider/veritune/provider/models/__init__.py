"""Models: the base models on offer, and the chat format in which each is trained and asked.

In      a folder of base models, messages
Out     a catalog by name and digest, token ids
Reads   common
Never   engines, training, storage, rpc, torch, grpc
Start   catalog.find_models, chat.ChatFormat

A model is found by its name and by the digest of its files, so that both parties mean the same weights.

>>> from veritune.common.errors import UnknownModelError
>>> from veritune.provider.models.catalog import ModelCatalog
>>> try:
...     ModelCatalog(()).find("smollm2", "0" * 64)
... except UnknownModelError as error:
...     print(error.metadata["model"])
smollm2
"""
