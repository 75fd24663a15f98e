"""Data: the user's rows, read from JSON Lines, and the answers that they already offer as candidates.

In      a JSONL file
Out     rows in one form; for each row the answers it could have had
Reads   arbiter.documents; client.progress; common
Never   wording, job, sowing, torch, grpc
Start   user_rows.read_user_rows

>>> from veritune.client.data.user_rows import user_row
>>> row = user_row({"question": "Where is parcel 7?", "answer": "In Kobe."})
>>> row.completion
'In Kobe.'
"""
