"""Red team: find one's own canaries as a cheating provider would, before anything is sent.

In      a training set and its sealed secrets
Out     for each detector, how well it tells canary rows from plain rows
Reads   arbiter.documents, arbiter.measure; client.charts, client.data, client.extras, client.generation,
        client.progress, client.sowing; common
Never   planning, exchange, challenge, run, cli, grpc
Start   attack, registry, scoring.Roc

>>> from veritune.client.redteam.scoring import Roc
>>> Roc.of(plain=[0.1, 0.2, 0.3], canaries=[0.2, 0.9]).area
0.75
"""
