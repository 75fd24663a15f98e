"""Detectors: each gives every row of a data set a figure of suspicion, without knowing a canary.

In      the rows of a training set, for some a base model
Out     one number a row; higher is more suspect
Reads   arbiter.measure; client.data, client.extras, client.generation, client.progress; common
Never   sowing, exchange, challenge, run, grpc
Start   detector.Detector, kgrams.RepeatedPhrases

>>> from veritune.client.data.user_rows import user_row
>>> from veritune.client.redteam.detectors.odd_characters import OddCharacters
>>> rows = [user_row({"question": "Where?", "answer": answer}) for answer in ("In Kobe", "#%&$ 77!")]
>>> OddCharacters().suspicion(rows)
[0.0, 0.875]
"""
