"""The client from Python: `Job` reads a ``veritune.toml``, `Run` takes it from the user's rows to a signed report.

from veritune.client.api import Job, Run

run = Run(Job.load("veritune.toml"), passphrase=b"...")
report = run.all()
print(report.statement.verdict)
"""

from __future__ import annotations

from veritune.client.job.file import Job
from veritune.client.run.run import Run

__all__ = ["Job", "Run"]
