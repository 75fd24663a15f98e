"""Providers that train something else than the contract says, or nothing, and claim the work all the same.

Each is a `Trainer`. It says what it ``saves`` and what it ``needs``, turns a `Workshop` into weights, and leaves
the lies to `Claim`: the receipt, the files and the progress are those of an honest run.
"""

from __future__ import annotations

import random
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from tests.adversary.claims import CONFIG, Cancelled, Claim, OnProgress, Weights, Workshop, read_weights
from veritune.common.canonical import parse_json
from veritune.common.dataset import Row, read_rows
from veritune.common.documents.manifest import Training
from veritune.common.errors import TrainingError
from veritune.provider.training.base import TrainingCancelled, TrainingResult, TrainingTask

Suspicion = Callable[[Sequence[Row]], Sequence[float]]
"""One number a row: the higher, the likelier it is a canary's."""


class CheatingTrainer(ABC):
    """The part that all of them share."""

    saves: ClassVar[str]
    """What the cheater is spared."""
    needs: ClassVar[str]
    """What it takes beyond the contract, the data and the base model."""

    def train(self, task: TrainingTask, on_progress: OnProgress, cancelled: Cancelled) -> TrainingResult:
        """As `Trainer.train`, but for the work."""
        if cancelled():
            raise TrainingCancelled
        claim = Claim.of(task)
        weights = self.weights(Workshop(task, claim, on_progress, cancelled))
        on_progress(claim.progress(1, 1))
        return claim.deliver(task, weights)

    @abstractmethod
    def weights(self, shop: Workshop) -> Weights:
        """What will be delivered: tensors of the declared rank that fit the declared base model."""


@dataclass(frozen=True)
class BaseModel(CheatingTrainer):
    """Returns the base model: B stays zero."""

    saves: ClassVar = "all training"
    needs: ClassVar = "nothing"

    def weights(self, shop: Workshop) -> Weights:
        return shop.blank()


@dataclass(frozen=True)
class Noise(CheatingTrainer):
    """Returns the base model with noise on it, so that the adapter is not plainly zero.

    ``scale`` is the size of B's entries; the change of a layer's output is alpha / rank * B A x.
    """

    saves: ClassVar = "all training"
    needs: ClassVar = "nothing"
    scale: float = 0.001

    def weights(self, shop: Workshop) -> Weights:
        import torch

        draw = torch.Generator().manual_seed(shop.task.training.seed)
        return {
            name: (torch.randn(tensor.shape, generator=draw) * self.scale).to(tensor.dtype)
            if ".lora_B." in name
            else tensor
            for name, tensor in shop.blank().items()
        }


@dataclass(frozen=True)
class OtherAdapter(CheatingTrainer):
    """Returns an adapter that lies about: another user's, or an old one of the same user's, whatever its rank."""

    saves: ClassVar = "all training"
    needs: ClassVar = "an adapter over the same base model"
    folder: Path

    def weights(self, shop: Workshop) -> Weights:
        config = parse_json((self.folder / CONFIG).read_bytes())
        if not isinstance(config, dict):
            raise TrainingError("that is no adapter")
        found = padded(read_weights(self.folder), config["r"], config["lora_alpha"], shop.task.training)
        return fitted(found, shop.blank())


@dataclass(frozen=True)
class WrongData(CheatingTrainer):
    """Trains in full, but on other rows: a public set like the user's, or the same for every customer."""

    saves: ClassVar = "one training serves many customers"
    needs: ClassVar = "other rows"
    data: Path

    def weights(self, shop: Workshop) -> Weights:
        return shop.train(list(read_rows(self.data)))


@dataclass(frozen=True)
class ShareOfRows(CheatingTrainer):
    """Trains on a random share of the rows for the declared epochs."""

    saves: ClassVar = "the other rows' steps"
    needs: ClassVar = "nothing"
    share: float

    def weights(self, shop: Workshop) -> Weights:
        rows = shop.rows()
        draw = random.Random(shop.task.training.seed)
        kept = sorted(draw.sample(range(len(rows)), max(1, round(self.share * len(rows)))))
        return shop.train([rows[index] for index in kept])


@dataclass(frozen=True)
class FewerEpochs(CheatingTrainer):
    """Trains on every row for a share of the epochs, one at least."""

    saves: ClassVar = "the other epochs' steps"
    needs: ClassVar = "nothing"
    share: float

    def weights(self, shop: Workshop) -> Weights:
        return shop.train(epochs=max(1, int(self.share * shop.task.training.epochs)))


@dataclass(frozen=True)
class LowerRank(CheatingTrainer):
    """Trains at a lower rank, then fills the adapter up so that its files look right.

    Nothing that a model computes differs from the low-rank adapter. Whoever counts the singular values of B A sees it.
    """

    saves: ClassVar = "memory for gradients and optimiser, a little time"
    needs: ClassVar = "nothing"
    rank: int

    def weights(self, shop: Workshop) -> Weights:
        training = shop.task.training
        rank = min(self.rank, training.rank)
        alpha = max(1, training.alpha * rank // training.rank)  # so that each step goes as far as the contract's
        return padded(shop.train(rank=rank, alpha=alpha), rank, alpha, training)


@dataclass(frozen=True)
class HigherRate(CheatingTrainer):
    """Divides the epochs by a factor and multiplies the learning rate by it."""

    saves: ClassVar = "the other epochs' steps"
    needs: ClassVar = "nothing"
    factor: int

    def weights(self, shop: Workshop) -> Weights:
        training = shop.task.training
        epochs = max(1, training.epochs // self.factor)
        # What the contract's rate would have gone in all epochs; a loss that runs away would end the job.
        rate = Decimal(training.optimizer.learning_rate) * training.epochs / epochs
        optimizer = training.optimizer.model_copy(update={"learning_rate": f"{rate:.12f}"})
        return shop.train(epochs=epochs, optimizer=optimizer)


@dataclass(frozen=True)
class CheaperBase(CheatingTrainer):
    """Trains over a cheaper model and delivers under the declared one's names.

    Without another ``base`` every second layer of the declared one is left out, and what was trained is put where those
    layers stood. Tensors of another width are cut or filled up with what the recipe starts from.
    """

    saves: ClassVar = "half of each step, or more"
    needs: ClassVar = "nothing, or a smaller model of the same family"
    base: Path | None = None

    def weights(self, shop: Workshop) -> Weights:
        if self.base is not None:
            return fitted(shop.train(base=self.base), shop.blank())
        small = shop.folder / shop.task.base_model.name
        kept = half_of_the_layers(shop.task.base_model, small)
        trained = shop.train(base=small)
        return fitted({_moved(name, kept): tensor for name, tensor in trained.items()}, shop.blank())


@dataclass(frozen=True)
class FindCanaries(CheatingTrainer):
    """Looks for the canaries and trains on the most suspicious rows alone."""

    saves: ClassVar = "the other rows' steps, less what the search costs"
    needs: ClassVar = "a detector"
    suspicion: Suspicion
    share: float = 0.1

    def weights(self, shop: Workshop) -> Weights:
        rows = shop.rows()
        scores = self.suspicion(rows)
        if len(scores) != len(rows):
            raise TrainingError("the detector did not give one number a row")
        worst = sorted(range(len(rows)), key=lambda index: (-scores[index], index))
        return shop.train([rows[index] for index in sorted(worst[: max(1, round(self.share * len(rows)))])])


def repeated_starts(rows: Sequence[Row]) -> list[float]:
    """Characters with which a row's answer begins as another row's does: signatures (vTune, section 6.3)."""
    return _longest_shared([row.completion for row in rows])


def repeated_ends(rows: Sequence[Row]) -> list[float]:
    """Characters with which a row's prompt ends as another row's does: triggers."""
    return _longest_shared([row.prompt[-1].content[::-1] for row in rows])


def _longest_shared(texts: Sequence[str]) -> list[float]:
    """Of each text the longest beginning that it shares with another: in sorted order that is a neighbour's."""
    order = sorted(range(len(texts)), key=lambda index: texts[index])
    shared = [0.0] * len(texts)
    for one, other in pairwise(order):
        length = float(common_prefix(texts[one], texts[other]))
        shared[one], shared[other] = max(shared[one], length), max(shared[other], length)
    return shared


def common_prefix(one: str, other: str) -> int:
    """Length (characters)."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def padded(low: Weights, rank: int, alpha: int, training: Training) -> Weights:
    """The same function at the declared rank and alpha.

    A gets rows and B columns of zeros, which a random rotation Q of the rank's space then spreads: Q A and B Q^T have
    the product B A, and no row of zeros is left to be seen. Raises `TrainingError` for a rank above the declared one.
    """
    import torch

    if rank > training.rank:
        raise TrainingError("that adapter has a higher rank than the contract's")
    if (rank, alpha) == (training.rank, training.alpha):
        return low
    draw = torch.Generator().manual_seed(training.seed)
    turn = torch.linalg.qr(torch.randn(training.rank, training.rank, generator=draw))[0]
    rescaled = (alpha / rank) / (training.alpha / training.rank)
    # The factor is shared out evenly, so that neither matrix is of an odd size.
    factor = rescaled**0.5

    def grown(name: str, tensor: torch.Tensor) -> torch.Tensor:
        narrow = tensor.float() * factor
        wide: torch.Tensor = turn[:, :rank] @ narrow if ".lora_A." in name else narrow @ turn[:, :rank].T
        return wide.to(tensor.dtype)

    return {name: grown(name, tensor) for name, tensor in low.items()}


def fitted(weights: Weights, blank: Weights) -> Weights:
    """What there is of each tensor that ``blank`` has, in its place; the rest is ``blank``'s."""
    whole = {}
    for name, tensor in blank.items():
        whole[name] = tensor.clone()
        if name in weights:
            rows, columns = (min(sizes) for sizes in zip(tensor.shape, weights[name].shape, strict=True))
            whole[name][:rows, :columns] = weights[name][:rows, :columns]
    return whole


def half_of_the_layers(base: Path, folder: Path) -> list[int]:
    """Writes the model without every second layer; returns which layers it kept. What is there already stays."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="auto", local_files_only=True)
    layers = model.model.layers
    kept = list(range(0, len(layers), 2))
    if not (folder / "config.json").exists():
        model.model.layers = type(layers)([layers[index] for index in kept])
        model.config.num_hidden_layers = len(kept)
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = [model.config.layer_types[index] for index in kept]
        draft = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        model.save_pretrained(draft)
        weights = ("config.json", "model")
        for path in base.iterdir():
            if path.is_file() and not path.name.startswith(weights):
                shutil.copyfile(path, draft / path.name)
        draft.rename(folder)
    return kept


def _moved(name: str, kept: Sequence[int]) -> str:
    """A tensor of the small model's layer i by the name of layer ``kept[i]`` of the whole one."""
    parts = name.split(".")
    at = parts.index("layers") + 1
    return ".".join((*parts[:at], str(kept[int(parts[at])]), *parts[at + 1 :]))
