"""The training loop: one `Epoch` an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cbam_search.data.images import ImageData
from cbam_search.errors import DeviceMemoryError, DivergedError
from cbam_search.identity import identity
from cbam_search.metrics import Confusion, Measured, confusion_matrix, trained_values
from cbam_search.training.batches import DataOnDevice, steps_per_epoch
from cbam_search.training.checkpoint import checkpoint_of, load_checkpoint
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import derived_seed, deterministic
from cbam_search.training.epoch import Epoch
from cbam_search.training.numerics import NUMERICS_VERSION
from cbam_search.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from cbam_search.training.precision import Precision

# Evaluation keeps no activations for a backward pass, so that four times the batch fits.
EVALUATION_BATCH_FACTOR = 4


def train(
    model: nn.Module,
    data: ImageData | DataOnDevice,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    checkpoint: bytes | None = None,
) -> Training:
    """Train `model` in place: an iterator of `Epoch`, which trains one epoch each time it is asked.

    model: (N, C, H, W) float32 -> (N, classes) logits; its weights are the caller's. Moved to `device`.
    data: a `DataOnDevice` serves many trainings; an `ImageData` is put on the device for this one.
    seed: of batch order, augmentation and the model's own randomness; not negative.
    checkpoint: of an earlier training to go on from, see `Training.checkpoint`.

    Raises DamagedFileError if the checkpoint is damaged, CheckpointError if it is another training's, DeviceMemoryError if the
    device has too little memory; the iterator raises DivergedError when a loss is not finite, and DeviceMemoryError.
    """
    try:
        placed = data if isinstance(data, DataOnDevice) else DataOnDevice(data, device)
        assert placed.device == device, "the data lies on another device"
        return Training(model, placed, config, seed, checkpoint)
    except torch.OutOfMemoryError as error:
        failure = str(error)
    # Raised out here: inside, the old traceback would hold on to the memory.
    raise DeviceMemoryError(failure)


class Training(Iterator[Epoch]):
    """A training under way.

    resumed_epoch: epochs that the checkpoint brought along, which are not given again; 0 from scratch.
    epoch: epochs done.
    seconds: that these took, those before the checkpoint among them.
    measured: what the last epoch's validation came to, with errors. predicted: (N,), the class that it gave each validation
    image, in the order of the split. Both are empty before the first epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataOnDevice,
        config: TrainingConfig,
        seed: int,
        checkpoint: bytes | None,
    ) -> None:
        self._data = data
        self._config = config
        self._seed = seed
        self._precision = Precision.of(config, data.device)
        self._precision.lay_out(model)
        self._model = model
        self._optimizer = build_optimizer(self._model, config)
        self._scaler = self._precision.gradient_scaler()
        self._steps_per_epoch = steps_per_epoch(len(data.train), config.batch_size)
        self.epoch, self.seconds = (0, 0.0) if checkpoint is None else self._resume(checkpoint)
        self.resumed_epoch = self.epoch
        self.measured: dict[str, Measured] = {}
        self.predicted: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def __next__(self) -> Epoch:
        if self.epoch == self._config.epochs:
            raise StopIteration
        try:
            with deterministic(derived_seed(self._seed, self.epoch, "model"), self._data.device):
                trained = self._train_and_evaluate()
            self.seconds += trained.seconds
            return trained
        except torch.OutOfMemoryError as error:
            failure = str(error)
        raise DeviceMemoryError(failure)

    def checkpoint(self) -> bytes:
        """What another `train` goes on from after the last epoch that was asked for, as if it had never stopped."""
        progress = {"epoch": self.epoch, "seconds": self.seconds, "gradient_scaler": self._scaler.state_dict()}
        return checkpoint_of(self._model, self._optimizer, belongs_to=self._identity(), progress=progress)

    def _resume(self, checkpoint: bytes) -> tuple[int, float]:
        """Epochs done and the seconds that they took; version 0.1 did not write the latter."""
        progress = load_checkpoint(checkpoint, self._model, self._optimizer, belongs_to=self._identity(), read=_as_read_today)
        if progress["gradient_scaler"]:
            self._scaler.load_state_dict(progress["gradient_scaler"])
        return int(progress["epoch"]), float(progress.get("seconds", 0.0))

    def _identity(self) -> dict[str, object]:
        return {
            "recipe": self._config.model_dump(mode="json"),
            "seed": self._seed,
            "data": self._data.fingerprint,
            "numerics_version": NUMERICS_VERSION,
        }

    def _train_and_evaluate(self) -> Epoch:
        start, processor_start = time.monotonic(), time.process_time()
        train_loss = self._train_epoch()
        validation_loss, confusion, self.predicted = evaluate(self._model, self._data, self._config)
        self.measured = trained_values(confusion)
        self.epoch += 1
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if not math.isfinite(loss):
                raise DivergedError(f"the {name} loss of epoch {self.epoch} is {loss}; a lower lr may help")
        metrics = {
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            **{name: measured.value for name, measured in self.measured.items()},
            "learning_rate": self._learning_rate(self.epoch * self._steps_per_epoch - 1),
        }
        return Epoch(self.epoch, metrics, time.monotonic() - start, time.process_time() - processor_start)

    def _train_epoch(self) -> float:
        config = self._config
        self._model.train()
        step = self.epoch * self._steps_per_epoch
        loss_sum = torch.zeros((), device=self._data.device)
        for x, y in self._data.training_batches(config.batch_size, config.augment, seed=self._seed, epoch=self.epoch):
            loss_sum += self._step(x, y, self._learning_rate(step)) * len(y)
            step += 1
        return loss_sum.item() / len(self._data.train)

    def _step(self, x: torch.Tensor, y: torch.Tensor, learning_rate: float) -> torch.Tensor:
        """One update from x: (B, C, H, W), y: (B,); the mean loss, still on the device: reading it would stop the GPU."""
        config = self._config
        set_learning_rate(self._optimizer, learning_rate)
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision.autocast():
            logits = self._model(x.contiguous(memory_format=self._precision.memory_format))
            loss = cross_entropy(logits, y, label_smoothing=config.label_smoothing)
        torch.autograd.backward(self._scaler.scale(loss))
        if config.gradient_clip_norm is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._model.parameters(), config.gradient_clip_norm)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def _learning_rate(self, step: int) -> float:
        return learning_rate_at(
            step,
            total_steps=self._config.epochs * self._steps_per_epoch,
            warmup_steps=round(self._config.warmup_epochs * self._steps_per_epoch),
            peak=self._config.lr,
        )


def _as_read_today(saved: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint belongs to, with what decides of its recipe, and what version 0.1 did not write."""
    try:
        recipe: Any = identity(TrainingConfig.model_validate(saved.get("recipe")))
    except ValueError:
        recipe = saved.get("recipe")
    return {"numerics_version": 1, **saved, "recipe": recipe}


@torch.inference_mode()
def evaluate(model: nn.Module, data: DataOnDevice, config: TrainingConfig) -> tuple[float, Confusion, npt.NDArray[np.int64]]:
    """Plain cross entropy, confusion matrix and predicted classes (N,) over the validation split of `data`, on whose device the
    model lies.

    The model is left in eval mode.
    """
    precision = Precision.of(config, data.device)
    model.eval()
    loss_sum = torch.zeros((), device=data.device)
    parts, labels = [], []
    for x, y in data.evaluation_batches(EVALUATION_BATCH_FACTOR * config.batch_size):
        with precision.autocast():
            logits = model(x.contiguous(memory_format=precision.memory_format)).float()
        loss_sum += cross_entropy(logits, y, reduction="sum")
        parts.append(logits.argmax(dim=1))
        labels.append(y)
    predicted = torch.cat(parts).cpu().numpy()
    confusion = confusion_matrix(torch.cat(labels).cpu().numpy(), predicted, data.classes)
    return loss_sum.item() / len(data.validation), confusion, predicted
