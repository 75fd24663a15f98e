"""Command line: the commands of `veritune-arbiter`, which `veritune` calls too, and an exit code for each error.

In      arguments: paths of a report, its evidence and two public keys
Out     tables or JSON on standard output, errors on standard error, an exit code
Reads   arbiter.audit, arbiter.documents, arbiter.epochs; common
Never   client, provider, torch, grpc
Start   app.run_cli, app.main

A command that lacks its arguments says so on standard error and exits with 64, the usage error of sysexits.h.

>>> from veritune.arbiter.cli.app import run_cli
>>> run_cli(["audit"])
64
"""
