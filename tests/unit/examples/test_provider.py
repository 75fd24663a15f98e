"""`examples/provider/provider.toml`: it may be read as a list of defaults, because it is one."""

from __future__ import annotations

from pathlib import Path

from veritune.provider.daemon.config import ProviderConfig, load_config

EXAMPLE = Path(__file__).parents[3] / "examples" / "provider"


def test_the_commented_file_holds_the_defaults() -> None:
    places = {"state", "models"}
    written = load_config(EXAMPLE / "provider.toml", {}).model_dump(exclude=places)
    assert written == ProviderConfig().model_dump(exclude=places)
