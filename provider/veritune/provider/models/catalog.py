"""The base models on offer: each folder in the models folder that holds one, by the folder's name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veritune.common.errors import UnknownModelError
from veritune.common.model.files import model_digest


@dataclass(frozen=True)
class OfferedModel:
    """A base model that clients may choose: its name, digest (SPEC section 4.2) and folder."""

    name: str
    digest: str
    folder: Path


def find_models(folder: Path) -> tuple[OfferedModel, ...]:
    """Every base model in ``folder``, hashed, by name; a subfolder without ``config.json`` is no model.

    Empty if ``folder`` doesn't exist.
    """
    if not folder.is_dir():
        return ()
    return tuple(
        OfferedModel(path.name, model_digest(path), path)
        for path in sorted(folder.iterdir())
        if (path / "config.json").is_file()
    )


class ModelCatalog:
    """Finds base models by name and digest."""

    def __init__(self, models: tuple[OfferedModel, ...]) -> None:
        self.models = models
        self._by_name = {model.name: model for model in models}

    def find(self, name: str, digest: str) -> OfferedModel:
        """The base model of that name and digest. Raises `UnknownModelError` if it isn't offered with these files."""
        model = self._by_name.get(name)
        if model is None:
            raise UnknownModelError("the provider does not offer that base model", model=name)
        if model.digest != digest:
            raise UnknownModelError("the provider's base model of that name has another digest", model=name)
        return model
