"""Common: what both parties sign, and how it is hashed, signed and checked.

In      documents, keys, bytes from the other party
Out     canonical bytes, digests, signed envelopes, errors with a reason
Reads   v1
Never   arbiter, client, provider, torch, grpc, sqlalchemy
Start   signing.sign_document, signing.open_document, errors.VerituneError

>>> from veritune.common.envelope import sign, verify
>>> from veritune.common.keys import PrivateKey
>>> key = PrivateKey.generate()
>>> envelope = sign("text/plain", b"ten rows", key)
>>> verify(envelope, "text/plain", [key.public])
b'ten rows'
"""
