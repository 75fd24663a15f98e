"""Wording: other ways to write an answer that mean the same, by rules or by a language model.

In      an answer, a rewording, a stream of secret random bits
Out     different wordings of the answer, each equally likely
Reads   arbiter.documents; client.randomness; common
Never   data, job, generation, sowing, torch, grpc
Start   draw.draw_wordings, by_model.ModelWordings

>>> from veritune.arbiter.documents.canary import Rewording
>>> from veritune.client.randomness import SecretStream
>>> from veritune.client.wording.draw import draw_wordings
>>> found = draw_wordings("It's here.", Rewording(rules=("contractions",)), 2, SecretStream(bytes(32), "example"))
>>> sorted(found)
['It is here.', "It's here."]
"""
