"""The exit code and the remedy of every error: what a command returns to the shell, and what it tells a person.

The table has a line for every reason and no default; `docs/errors.md` is made from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from veritune.common.errors import Fault, VerituneError

EXIT_CODES = {
    0: "PASS or done",
    1: "FAIL",
    2: "INCONCLUSIVE",
    64: "wrong use or a step that comes too early",
    65: "bad data or a report that fails its audit",
    66: "a file is missing",
    69: "the provider is unavailable or its training ended",
    70: "internal fault",
    74: "disk or system fault",
    75: "in use or out of reach for now",
    76: "the provider breaks or refuses the protocol",
    77: "keys or secrets",
    78: "the job can't be run as it is set up",
    130: "interrupted",
}
"""The meaning of every exit code: 0 to 2 are verdicts, 64 to 78 are the numbers of BSD's sysexits.h."""

CODES_OF_FAULT: dict[Fault, frozenset[int]] = {
    "peer": frozenset({69, 76}),
    "own": frozenset({64, 65, 66, 75, 77, 78}),
    "client": frozenset({65}),
    "internal": frozenset({70}),
}
"""The exit codes that the errors of each family may have."""


@dataclass(frozen=True)
class Exit:
    """The exit code of a command that ends with an error, and the remedy that it prints."""

    code: int
    remedy: str
    """What to do, in one sentence or two without a full stop."""


_REPORT_IT = "keep the run's folder and show the provider this message; the same command again asks once more"

EXITS: dict[str, Exit] = {
    "MALFORMED_DOCUMENT": Exit(76, _REPORT_IT),
    "MALFORMED_REQUEST": Exit(76, _REPORT_IT),
    "TOO_LARGE": Exit(76, "send less: fewer or shorter rows, prompts or answers; what the provider sent is refused"),
    "QUOTA_EXCEEDED": Exit(69, "wait until jobs of yours have ended, then run the same command again"),
    "BAD_SIGNATURE": Exit(76, "is provider.public_key the provider's, and client.key the one of this run?"),
    "UNAUTHENTICATED": Exit(76, "is this machine's clock right, and client.key the one that signed the contract?"),
    "EXPIRED": Exit(76, "start in a new folder with --run, with later [deadlines]"),
    "POLICY_REFUSED": Exit(
        76,
        "change the terms in veritune.toml and run again; if [canaries] change, with a new --run",
    ),
    "UNKNOWN_MODEL": Exit(76, "set model.name and model.folder to the provider's base model, file by file"),
    "NOT_FOUND": Exit(76, "is provider.address the provider that signed this contract? It may have lost its state"),
    "CONFLICT": Exit(76, "run again in the folder that began this contract, or start in a new one with --run"),
    "OUT_OF_ORDER": Exit(76, "run the same command again: a step that the provider has not seen is repeated"),
    "BAD_OFFSET": Exit(76, "run the same command again; it goes on from what the provider holds"),
    "TRUNCATED": Exit(76, "run the same command again; it goes on where it broke off"),
    "DIGEST_MISMATCH": Exit(76, "don't use what was sent; keep the run's folder and show the provider this message"),
    "BAD_DATASET": Exit(76, "prepare the data with `veritune prepare`, and leave train.jsonl as it is"),
    "TRAINING_ENDED": Exit(69, "run again to start another attempt under the same contract"),
    "UNAVAILABLE": Exit(69, "is the provider running, and are provider.address and provider.tls_ca right?"),
    "DEADLINE_EXCEEDED": Exit(69, "run the same command again; it goes on where it broke off"),
    "UNIMPLEMENTED": Exit(76, "ask the provider for its version: it does not know this call"),
    "USAGE": Exit(64, "`veritune COMMAND --help` shows how"),
    "STEP_MISSING": Exit(64, "take the step that the message names, or `veritune run` for all that is left"),
    "TOO_LATE": Exit(78, "start in a new folder with --run, with later [deadlines]"),
    "IN_USE": Exit(75, "wait for the other command, or take another folder"),
    "CHANGED_JOB": Exit(78, "undo the change, or start in a new folder with --run"),
    "FILE_MISSING": Exit(66, "check the name of the file, and that you may read it"),
    "BAD_FILE": Exit(65, "put back the file as it was written, or take the step that makes it again"),
    "WRONG_FILE": Exit(65, "name the file that belongs to this run or report, or put it back as it was"),
    "BAD_ROWS": Exit(65, "correct the lines that the message names; README.md shows the form of a row"),
    "BAD_MODEL_FOLDER": Exit(78, "name a folder with config.json, safetensors and a tokenizer with a chat template"),
    "BAD_KEY_FILE": Exit(
        77,
        "is it the right file? VERITUNE_PASSPHRASE (a provider's: VERITUNE_PROVIDER_PASSPHRASE) opens an encrypted "
        "key; `veritune keygen` or `veritune-provider keygen` makes one",
    ),
    "BAD_SECRETS": Exit(77, "set VERITUNE_PASSPHRASE to the passphrase of `veritune prepare`"),
    "UNREACHABLE_PLAN": Exit(78, "change the settings that the message names; `veritune plan` finds what is enough"),
    "ENDPOINT_FAILED": Exit(75, "is the model's endpoint running, its address right, and OPENAI_API_KEY its key?"),
    "BAD_JOB": Exit(78, "change the key that the message names; `veritune init DATA` writes a job with comments"),
    "MISSING_EXTRA": Exit(78, "install what the message names"),
    "BAD_CONFIG": Exit(78, "change what the message names in provider.toml or on the command line"),
    "BAD_DATABASE": Exit(78, "check --database; a state of another version needs the veritune that made it"),
    "MISSING_ENGINE": Exit(78, "install what the message names, or choose the other --engine"),
    "BAD_ADAPTER": Exit(78, "train it again, or serve with another --engine; the client is told INTERNAL"),
    "AUDIT_FAILED": Exit(65, "see docs/SPEC.md, section 8, for what the numbered check asks"),
    "INTERNAL": Exit(70, "where the provider said so, its log says more; else put --debug before the command"),
}


def exit_of(error: VerituneError) -> Exit:
    """The exit code and remedy of an error, by its reason."""
    return EXITS[error.reason]


EXTRAS = {
    "grpc": "client",
    "grpc_status": "client",
    "google": "client",
    "torch": "model",
    "transformers": "model",
    "peft": "model",
    "accelerate": "model",
    "safetensors": "model",
    "gguf": "model",
    "sklearn": "redteam",
    "grpc_health": "provider",
    "grpc_reflection": "provider",
    "sqlalchemy": "provider",
    "structlog": "provider",
    "vllm": "vllm",
}
"""The extra of the installation that brings each library which the base install lacks."""


def missing_extra(error: BaseException, party: str = "client") -> tuple[str, str] | None:
    """Message and remedy for an import that failed because an extra is not installed; None for any other error.

    A ``party`` of ``provider`` is told to install the extra of that name, which brings most of them.
    """
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name not in EXTRAS:
        return None
    extra = "provider" if party == "provider" and name != "vllm" else EXTRAS[name]
    return f"this needs {name}, which is not installed", f"pip install 'veritune[{extra}]'"
