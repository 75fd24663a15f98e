"""Planning: the cheapest canaries with which a policy passes honest work and fails a base model.

In      what is known of the data and wanted of a verdict
Out     a canary plan, its cost, and how sure a verdict is
Reads   arbiter.statistics, arbiter.verdict; client.charts, client.data, client.job; common
Never   exchange, sowing, run, torch, grpc
Start   planner.plan, for_job.answer, curve.power_curve

>>> from veritune.client.planning.planner import plan
>>> from veritune.client.planning.wish import Wish
>>> planned = plan(Wish(rows=5000))
>>> planned.plan.groups > 0, planned.figures.canary_rows < 500
(True, True)
"""
