"""Contracts: what this provider signs, and who may then upload and ask under a contract.

In      offers, uploads, access tokens
Out     countersigned contracts, stored data sets with receipts, refusals that name the point
Reads   arbiter.papers; common; provider.clock, provider.concurrency, provider.models, provider.receipts,
        provider.storage
Never   jobs, serving, rpc, engines, client
Start   contracts.Contracts, policy.check_manifest, uploads.Uploads, gate.Gate

A recipe that is too weak to teach canaries would let honest work fail, so the provider names the point.

>>> from veritune.common.documents.manifest import Training
>>> from veritune.provider.contracts.teaching import Teaching, weak_point
>>> weak_point(Training(epochs=1), steps=1000, group_rows=8, least=Teaching())
'training.epochs is under 6'
"""
