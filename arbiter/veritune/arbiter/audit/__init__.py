"""Audit: seventeen numbered checks that decide whether a report follows from its evidence.

In      a report, its evidence, two public keys; the data set where it is at hand
Out     an audit result, or an error with the number of the check that failed
Reads   arbiter.documents, arbiter.papers, arbiter.report, arbiter.selection, arbiter.statistics, arbiter.verdict;
        common
Never   epochs, measure, client, provider, torch, numpy, grpc
Start   audit.audit_files, audit.audit, dataset.check_data

>>> from veritune.arbiter.audit.audit import CHECKS, audit
>>> from veritune.common.errors import AuditError
>>> from veritune.common.keys import PrivateKey
>>> client, provider = PrivateKey.generate().public, PrivateKey.generate().public
>>> try:
...     audit(b"no report", b"no evidence", client, provider)
... except AuditError as error:
...     print(error.check, CHECKS[error.check])
1 the report is signed by the client
"""
