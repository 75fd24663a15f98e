"""Verdict: PASS, FAIL or INCONCLUSIVE, from the evidence by the rules that both parties signed.

In      evidence, a manifest with its policy
Out     a judgement: the verdict, its figures and its reasons
Reads   arbiter.documents, arbiter.selection, arbiter.statistics; common
Never   audit, measure, report, client, provider, torch, grpc
Start   judge.judge_evidence

The contract asks for answers of the delivered model. Nobody has asked it yet, so nothing is decided.

>>> from veritune.arbiter.verdict.judge import judge
>>> from veritune.common.documents.manifest import Policy
>>> judge(Policy(), 1000, []).verdict
'INCONCLUSIVE'
"""
