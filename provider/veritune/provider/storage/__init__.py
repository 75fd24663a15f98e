"""Storage: the database of contracts, jobs and answers, and files kept by their SHA-256.

In      records, files
Out     records, files whose digest was checked
Reads   common
Never   contracts, jobs, engines, training, rpc, torch, grpc
Start   store.Store, blobs.BlobStore

>>> from hashlib import sha256
>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.provider.storage.blobs import BlobStore
>>> with TemporaryDirectory() as name:
...     source = Path(name, "upload")
...     _ = source.write_bytes(b"ten rows")
...     blobs, digest = BlobStore(Path(name, "blobs")), sha256(b"ten rows").hexdigest()
...     _ = blobs.add(source, digest)
...     blobs.read(digest, offset=4, size=4)
b'rows'
"""
