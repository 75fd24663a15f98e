"""Generation: language models that write triggers, signatures and candidate answers.

In      sampled rows, a canary plan, streams of secret random bits
Out     texts, and for each signature a bound on its probability
Reads   arbiter.documents, arbiter.measure; client.job, client.progress, client.randomness, client.wording; common
Never   sowing, exchange, challenge, redteam, run, grpc
Start   protocols.TextGenerator, signatures, local_generator

The prompt from which a local model writes triggers holds sentences of the user's own rows.

>>> from veritune.client.data.user_rows import user_row
>>> from veritune.client.generation.prompts import phrase_prompt
>>> rows = [user_row({"question": q, "answer": "Yes."}) for q in ("Is parcel 7 in Kobe?", "Did parcel 8 leave Oslo?")]
>>> print(phrase_prompt(rows), end="")
Is parcel 7 in Kobe?
Did parcel 8 leave Oslo?
"""
