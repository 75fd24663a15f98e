"""One fine-tuning job from Python: prepare, contract, training, challenge, report.

    python examples/client/fine_tune.py JOB [--only-prepare]

JOB is a veritune.toml or the folder that it lies in. The passphrase of the secrets comes from VERITUNE_PASSPHRASE. Each
step that is done already is skipped, so that the script may be run again after any interruption.
"""

from __future__ import annotations

import argparse
import os
import sys

from veritune.client.api import Job, Run
from veritune.common.errors import VerituneError


def fine_tune(job: str, passphrase: bytes, *, only_prepare: bool) -> str:
    """Runs the job's steps and returns the verdict, or "" after ``only_prepare``. Raises `VerituneError`."""
    run = Run(Job.load(job), passphrase=passphrase)
    figures = run.prepare()  # draws the canaries and commits to them; nothing is sent
    print(f"prepared {figures.rows} rows, {figures.canary_rows} of them canaries, root {figures.canary_root[:16]}...")
    if only_prepare:
        return ""
    manifest = run.negotiate()  # the contract, signed by both parties
    print(f"contract over {manifest.dataset.rows} rows and {manifest.training.epochs} epochs")
    run.train()  # uploads the rows, waits for training, downloads the adapter
    run.challenge()  # asks the adapter here, then the provider's endpoint
    run.score_task()  # exact match on held-out rows, before and after training
    signed = run.report()  # computes the verdict, audits it, writes report and evidence
    for reason in signed.statement.predicate.judgement.reasons:
        print("-", reason.text)
    return signed.statement.verdict


def main() -> int:
    """Returns 0 once the job is through, whatever its verdict; 1 for an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="veritune.toml, or its folder")
    parser.add_argument("--only-prepare", action="store_true", help="draw canaries, and send nothing")
    arguments = parser.parse_args()
    try:
        passphrase = os.environ["VERITUNE_PASSPHRASE"].encode()
        print(fine_tune(arguments.job, passphrase, only_prepare=arguments.only_prepare) or "prepared; nothing was sent")
    except KeyError:
        print("set VERITUNE_PASSPHRASE: it seals the canaries on this disk", file=sys.stderr)
        return 1
    except VerituneError as error:
        print(f"error {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
