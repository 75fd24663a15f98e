"""Command line: the commands of `veritune`, their tables and progress bars, and an exit code for each error.

In      arguments
Out     tables or JSON on standard output, errors on standard error, an exit code
Reads   arbiter.cli, arbiter.documents; client.challenge, client.exchange, client.job, client.planning, client.redteam,
        client.run, client.sowing, client.workspace; common
Never   provider, sqlalchemy
Start   app.run_cli, app.main

A command that lacks its arguments says so on standard error and exits with 64, the usage error of sysexits.h.

>>> from veritune.client.cli.app import run_cli
>>> run_cli(["audit"])
64
"""
