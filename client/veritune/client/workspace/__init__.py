"""Workspace: the folder of one run, and the contract and receipts that are kept in it.

In      a folder, two public keys
Out     paths, finished stages, signed documents, checked again when they are read
Reads   arbiter.papers; common
Never   job, sowing, exchange, challenge, run, torch, grpc
Start   folder.Workspace, papers.Paperwork

A folder belongs to one command at a time.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.client.workspace.folder import Workspace
>>> with TemporaryDirectory() as name:
...     space = Workspace(Path(name))
...     with space.locked():
...         space.report(1).name, len(space.state().nonce)
('report-1.json', 64)
"""
