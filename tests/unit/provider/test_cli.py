"""Configuration and command line of the provider."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from typer.testing import CliRunner

from tests.support.errors import fails
from veritune.common.errors import KeyFileError
from veritune.common.exits import EXITS
from veritune.common.keys import PrivateKey, PublicKey
from veritune.common.model.files import model_digest
from veritune.provider.cli import PASSPHRASE, build_app
from veritune.provider.daemon.config import ConfigError, load_config
from veritune.provider.daemon.server import build_server

runner = CliRunner()


def test_help_teaches() -> None:
    text = runner.invoke(build_app(), ["--help"]).output
    for word in ("serve", "keygen", "models", "provider.pub"):
        assert word in text


def test_help_is_quick_and_loads_no_model_library() -> None:
    code = (
        "import sys; sys.argv = ['veritune-provider', '--help']\n"
        "from veritune.provider.cli import build_app\n"
        "try:\n    build_app()()\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers', 'grpc', 'sqlalchemy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_keygen_writes_four_files_and_overwrites_none(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    done = runner.invoke(build_app(), ["keygen", str(folder), "--host", "provider.example", "--host", "10.0.0.7"])
    assert done.exit_code == 0, done.output
    key = PrivateKey.load(folder / "provider.key")
    assert key.public == PublicKey.load(folder / "provider.pub")
    assert key.public.key_id in done.output
    for name in ("provider.key", "tls.key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "provider.example"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "10.0.0.7"]
    ssl.create_default_context(cafile=str(folder / "tls.crt"))
    before = (folder / "provider.key").read_bytes()
    again = runner.invoke(build_app(), ["keygen", str(folder)])
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert (folder / "provider.key").read_bytes() == before


def test_keygen_with_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSPHRASE, "hush")
    assert runner.invoke(build_app(), ["keygen", str(tmp_path)]).exit_code == 0
    with pytest.raises(KeyFileError):
        PrivateKey.load(tmp_path / "provider.key")
    PrivateKey.load(tmp_path / "provider.key", b"hush")


def test_models_lists_digests(tmp_path: Path, tiny_model: Path) -> None:
    done = runner.invoke(build_app(), ["models", str(tiny_model.parent), "--json"])
    assert model_digest(tiny_model) in done.output
    assert runner.invoke(build_app(), ["models", str(tmp_path)]).exit_code == 2


def test_a_file_with_the_command_line_over_it(tmp_path: Path) -> None:
    file = tmp_path / "provider.toml"
    file.write_text('state = "here"\nlisten = "0.0.0.0:1"\n[policy]\nmodels = ["a"]\nmax_beta = "0.001"\n')
    config = load_config(file, {"listen": "127.0.0.1:2", "models": None})
    assert config.state == tmp_path / "here"
    assert config.listen == "127.0.0.1:2"
    assert (config.policy.models, config.policy.max_beta) == (("a",), "0.001")
    assert config.database_url == f"sqlite:///{tmp_path}/here/provider.db"


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("sate = 1", {"setting": "sate"}),
        ("threads = -1", {"setting": "threads"}),
        ('engine = "magic"', {"setting": "engine"}),
        ("[policy]\nmax_beta = 0.5", {"setting": "policy.max_beta"}),
        ("[policy]\nmax_rnak = 1", {"setting": "policy.max_rnak"}),
        ("= =", {"cause": "toml"}),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, metadata: dict[str, str]) -> None:
    file = tmp_path / "provider.toml"
    file.write_text(text)
    with fails(ConfigError, **metadata):
        load_config(file, {})


def test_serve_without_a_key_says_so_in_one_line(tmp_path: Path) -> None:
    done = runner.invoke(build_app(), ["serve", "--keys", str(tmp_path), "--state", str(tmp_path / "s")])
    assert done.exit_code == EXITS["BAD_KEY_FILE"].code == 77
    assert "can't read provider.key" in done.output
    assert f"hint: {EXITS['BAD_KEY_FILE'].remedy}" in done.output
    assert "Traceback" not in done.output


async def test_a_daemon_without_any_base_model_says_so_at_its_start(tmp_path: Path) -> None:
    config = load_config(None, {"state": tmp_path / "state", "models": tmp_path / "nowhere"})
    with structlog.testing.capture_logs() as logs:
        build_server(config, PrivateKey.generate(), engine_factory=lambda model: pytest.fail("nothing is loaded"))
    assert [(line["log_level"], line["folder"]) for line in logs] == [("warning", str(tmp_path / "nowhere"))]
