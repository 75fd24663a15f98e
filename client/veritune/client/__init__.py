"""Client: the user's side, from rows to a signed report on whether the provider trained on them.

In      the user's rows, a `veritune.toml`, a provider's address and key
Out     canaries in a training set, a contract, an adapter, a verdict with its evidence
Reads   arbiter.audit, arbiter.cli, arbiter.documents, arbiter.measure, arbiter.papers, arbiter.report,
        arbiter.selection, arbiter.statistics, arbiter.verdict; common; v1
Never   provider, sqlalchemy
Start   api.Job, api.Run

`veritune init` from Python: a commented job file beside the rows.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.client.job.file import Job
>>> from veritune.client.job.template import write_template
>>> with TemporaryDirectory() as name:
...     rows = Path(name, "rows.jsonl")
...     _ = rows.write_text('{"question": "Where is parcel 7?", "answer": "In Kobe."}')
...     job = Job.load(write_template(rows))
>>> job.path.name, job.file.data.file
('veritune.toml', 'rows.jsonl')
"""
