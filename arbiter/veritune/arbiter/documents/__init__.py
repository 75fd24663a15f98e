"""Documents: what a judgement reads and writes: canaries, evidence, judgement, report statement.

In      canonical JSON, or fields
Out     frozen, strictly checked documents
Reads   common
Never   audit, report, statistics, verdict, client, provider, torch, grpc
Start   evidence.Evidence, judgement.Judgement, statement.ReportStatement

>>> from veritune.arbiter.documents.canary import with_trigger
>>> from veritune.common.dataset import Message
>>> prompt = (Message(role="user", content="Where is my parcel?"),)
>>> with_trigger(prompt, "seven grey herons wait")[-1].content
'Where is my parcel? seven grey herons wait'
"""
