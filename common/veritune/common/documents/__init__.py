"""Documents: the manifest (the contract), the receipts, and the rules that every signed document obeys.

In      canonical JSON, or fields
Out     frozen, strictly checked documents; their canonical bytes
Reads   common.canonical, common.errors, common.files, common.limits
Never   arbiter, client, provider, torch, grpc
Start   manifest.Manifest, receipts.TrainingReceipt, base.Document

>>> from veritune.common.documents.manifest import Price
>>> price = Price(amount="120", currency="EUR")
>>> price.to_bytes()
b'{"amount":"120","currency":"EUR","escrow":""}'
>>> Price.from_bytes(price.to_bytes()) == price
True
"""
