"""Run: one job in one folder, step by step, from preparing to a signed report; resumes where it broke off.

In      a job, a passphrase
Out     a workspace with contract, receipts, adapter, evidence and report
Reads   arbiter.audit, arbiter.documents, arbiter.measure, arbiter.papers, arbiter.report; client.challenge,
        client.data, client.errors, client.exchange, client.generation, client.job, client.progress, client.randomness,
        client.redteam, client.sowing, client.workspace; common
Never   planning, cli, provider
Start   run.Run, prepare, offer.build_manifest

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.client.job.file import Job
>>> from veritune.client.job.template import write_template
>>> from veritune.client.run.run import Run
>>> with TemporaryDirectory() as name:
...     rows = Path(name, "rows.jsonl")
...     _ = rows.write_text('{"question": "Where is parcel 7?", "answer": "In Kobe."}')
...     run = Run(Job.load(write_template(rows)), passphrase=b"of your own")
>>> run.workspace.root.name, run.workspace.report(session=1).name
('veritune-run', 'report-1.json')
"""
