"""Exchange: the client's end of the wire: negotiate, upload, watch, download, ask.

In      an address, the client's key, the provider's pinned key
Out     checked documents and files; the provider's errors as ours
Reads   arbiter.papers; client.progress; common; v1
Never   generation, job, sowing, challenge, run, torch
Start   provider_client.ProviderClient, inference_client.InferenceClient, channel.Channel

A channel connects at its first call. Until then it only makes the token that calls carry.

>>> from veritune.client.exchange.channel import Channel
>>> from veritune.common.keys import PrivateKey
>>> client, provider = PrivateKey.generate(), PrivateKey.generate().public
>>> with Channel("localhost:8470", client, provider) as channel:
...     [(name, token.split()[0]) for name, token in channel.metadata("00" * 32)]
[('authorization', 'Veritune')]
"""
