"""Starts a provider on this machine: makes keys the first time, serves, and waits until calls are answered.

    python examples/provider/serve.py FOLDER --models MODELS [--listen HOST:PORT]

FOLDER gets ``keys/`` and ``state/``. MODELS holds one folder for each base model (config.json, safetensors, tokenizer).
Ctrl-C or SIGTERM stops it; a job under way goes on at the next start.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

CONFIG = Path(__file__).parent / "provider.toml"
COMMAND = (sys.executable, "-m", "veritune.provider.cli")  # the same as `veritune-provider`


def start(folder: Path, models: Path, listen: str, seconds: float = 120) -> tuple[subprocess.Popen[bytes], int]:
    """Returns the daemon's process and its port once it answers calls. Raises `RuntimeError` when it does not start."""
    keys, ready = folder / "keys", folder / "ready.json"
    if not keys.exists():
        subprocess.run([*COMMAND, "keygen", str(keys)], check=True)
    ready.unlink(missing_ok=True)
    options = ["--config", CONFIG, "--keys", keys, "--state", folder / "state", "--models", models]
    options += ["--listen", listen, "--ready-file", ready]
    process = subprocess.Popen([*COMMAND, "serve", *map(str, options)])
    limit = time.monotonic() + seconds
    while not ready.exists():  # the daemon writes it once it listens
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            raise RuntimeError("the provider did not start; what it printed says why")
        time.sleep(0.1)
    return process, json.loads(ready.read_bytes())["port"]


def main() -> int:
    """Serves until it is stopped; returns the daemon's exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where keys and state are kept")
    parser.add_argument("--models", type=Path, required=True, help="folder of base model folders")
    parser.add_argument("--listen", default="127.0.0.1:8470", help="HOST:PORT; port 0 takes any free one")
    arguments = parser.parse_args()
    process, port = start(arguments.folder, arguments.models, arguments.listen)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    print(f"serving on port {port}; give clients {arguments.folder}/keys/provider.pub and tls.crt", flush=True)
    try:
        return process.wait()
    except KeyboardInterrupt:  # the daemon got it too, and is stopping
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
