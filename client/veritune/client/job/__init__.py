"""Job: the `veritune.toml`, its commented template, and the canary plan that it holds.

In      a TOML file, or rows to write one for
Out     a checked job; errors that name the key and the line
Reads   arbiter.documents; client.data, client.errors, client.wording; common
Never   generation, planning, sowing, run, torch, grpc
Start   file.Job, canary_plan.CanaryPlan, template.write_template

>>> from veritune.client.job.file import parse_duration
>>> str(parse_duration("36h"))
'1 day, 12:00:00'
"""
