"""Challenge: ask a model about the canaries of a session, and bundle what it said as evidence.

In      sealed secrets, contract and receipts, a local model or an endpoint
Out     answers kept as they come, a judgement, an evidence bundle
Reads   arbiter.documents, arbiter.measure, arbiter.selection, arbiter.verdict; client.exchange, client.progress,
        client.sowing, client.workspace; common
Never   planning, redteam, run, cli
Start   run.ChallengeRun, ask, evidence.build_evidence

An answer log outlives its process: a question that is asked again goes out under the same nonce.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from veritune.client.challenge.answer_log import AnswerLog
>>> with TemporaryDirectory() as name:
...     path = Path(name, "answers.jsonl")
...     first = AnswerLog(path).nonce("0" * 64)
...     AnswerLog(path).nonce("0" * 64) == first
True
"""
