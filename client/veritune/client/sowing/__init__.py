"""Sowing: from the user's rows and a plan to a training set that carries secret canaries.

In      rows, a canary plan, a generator
Out     training rows, held-out rows, sealed secrets, a Merkle commitment
Reads   arbiter.documents; client.data, client.generation, client.job, client.progress, client.randomness,
        client.wording; common
Never   planning, exchange, challenge, redteam, run, cli, grpc
Start   sow.sow, prepare.prepare, commitment.commit

A commitment hides how many canaries there are: padding fills its tree up to a power of two.

>>> from veritune.client.sowing.commitment import commit
>>> commitment = commit([], seed=bytes(32))
>>> len(commitment.root), len(commitment.leaf_hashes)
(64, 16)
"""
