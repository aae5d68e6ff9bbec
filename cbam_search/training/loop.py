"""The training loop: one EpochResult an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from cbam_search.data.images import ImageData
from cbam_search.errors import DeviceMemoryError, DivergedError
from cbam_search.training.batches import DataOnDevice, steps_per_epoch
from cbam_search.training.checkpoint import load_checkpoint, save_checkpoint
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import derived_seed, deterministic
from cbam_search.training.metrics import Metrics, confusion_matrix, metrics_of
from cbam_search.training.optimization import build_optimizer, learning_rate_at, set_learning_rate
from cbam_search.training.precision import Precision

# Evaluation keeps no activations for a backward pass, so that four times the batch fits.
EVALUATION_BATCH_FACTOR = 4


@dataclass(frozen=True)
class EpochResult:
    """What an epoch came to.

    epoch: from 1. train_loss: the mean over the epoch's images, with label smoothing, while the weights change.
    validation_loss: plain cross entropy. accuracy, balanced_accuracy, macro_f1: of validation, in [0, 1], see `Metrics`.
    learning_rate: of the last step. seconds: of training and evaluation.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    learning_rate: float
    seconds: float


def train(
    model: nn.Module,
    data: ImageData | DataOnDevice,
    config: TrainingConfig,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    checkpoint_every_seconds: float = 30.0,
) -> Training:
    """Train `model` in place: an iterator of EpochResult, which trains one epoch each time it is asked.

    model: (N, C, H, W) float32 -> (N, classes) logits; its weights are the caller's. Moved to `device`.
    data: a `DataOnDevice` serves many trainings; an `ImageData` is put on the device for this one.
    seed: of batch order, augmentation and the model's own randomness; not negative.
    checkpoint: gone on from if the file exists, and written at least `checkpoint_every_seconds` apart.

    Raises RecordsError if the checkpoint is damaged or another training's, DeviceMemoryError if the device has too
    little memory; the iterator raises DivergedError when a loss is not finite, and DeviceMemoryError.
    """
    try:
        placed = data if isinstance(data, DataOnDevice) else DataOnDevice(data, device)
        assert placed.device == device, "the data lies on another device"
        return Training(model, placed, config, seed, checkpoint, checkpoint_every_seconds)
    except torch.OutOfMemoryError as error:
        failure = str(error)
    # Raised out here: inside, the old traceback would hold on to the memory.
    raise DeviceMemoryError(failure)


class Training(Iterator[EpochResult]):
    """A training under way.

    resumed_epoch: epochs that the checkpoint brought along, which are not given again; 0 from scratch.
    epoch: epochs done. A checkpoint of epoch k is written when epoch k + 1 is asked for, so that whoever asks has
    recorded epoch k by then, or when `save()` is called.
    """

    def __init__(
        self,
        model: nn.Module,
        data: DataOnDevice,
        config: TrainingConfig,
        seed: int,
        checkpoint: Path | None,
        checkpoint_every_seconds: float,
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
        self._checkpoint = checkpoint
        self._checkpoint_every_seconds = checkpoint_every_seconds
        self._checkpoint_time = time.monotonic()
        self.epoch = self._resume(checkpoint) if checkpoint is not None and checkpoint.exists() else 0
        self.resumed_epoch = self.epoch

    def __next__(self) -> EpochResult:
        if self.epoch == self._config.epochs:
            raise StopIteration
        due = time.monotonic() - self._checkpoint_time >= self._checkpoint_every_seconds
        if due and self.epoch > self.resumed_epoch:
            self.save()
        try:
            with deterministic(derived_seed(self._seed, self.epoch, "model"), self._data.device):
                return self._train_and_evaluate()
        except torch.OutOfMemoryError as error:
            failure = str(error)
        raise DeviceMemoryError(failure)

    def save(self) -> None:
        """Write the checkpoint now, if there is a path for one."""
        if self._checkpoint is not None:
            progress = {"epoch": self.epoch, "gradient_scaler": self._scaler.state_dict()}
            save_checkpoint(self._checkpoint, self._model, self._optimizer, belongs_to=self._identity(), progress=progress)
        self._checkpoint_time = time.monotonic()

    def _resume(self, checkpoint: Path) -> int:
        progress = load_checkpoint(checkpoint, self._model, self._optimizer, belongs_to=self._identity())
        if progress["gradient_scaler"]:
            self._scaler.load_state_dict(progress["gradient_scaler"])
        return int(progress["epoch"])

    def _identity(self) -> dict[str, object]:
        return {
            "recipe": self._config.model_dump(mode="json"),
            "seed": self._seed,
            "data": self._data.fingerprint,
        }

    def _train_and_evaluate(self) -> EpochResult:
        start = time.monotonic()
        train_loss = self._train_epoch()
        validation_loss, metrics = evaluate(self._model, self._data, self._config)
        self.epoch += 1
        for name, loss in (("training", train_loss), ("validation", validation_loss)):
            if not math.isfinite(loss):
                raise DivergedError(f"the {name} loss of epoch {self.epoch} is {loss}; a lower lr may help")
        return EpochResult(
            epoch=self.epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            accuracy=metrics.accuracy,
            balanced_accuracy=metrics.balanced_accuracy,
            macro_f1=metrics.macro_f1,
            learning_rate=self._learning_rate(self.epoch * self._steps_per_epoch - 1),
            seconds=time.monotonic() - start,
        )

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


@torch.inference_mode()
def evaluate(model: nn.Module, data: DataOnDevice, config: TrainingConfig) -> tuple[float, Metrics]:
    """Plain cross entropy and metrics over the validation split of `data`, on whose device the model lies.

    The model is left in eval mode.
    """
    precision = Precision.of(config, data.device)
    model.eval()
    loss_sum = torch.zeros((), device=data.device)
    predictions, labels = [], []
    for x, y in data.evaluation_batches(EVALUATION_BATCH_FACTOR * config.batch_size):
        with precision.autocast():
            logits = model(x.contiguous(memory_format=precision.memory_format)).float()
        loss_sum += cross_entropy(logits, y, reduction="sum")
        predictions.append(logits.argmax(dim=1))
        labels.append(y)
    confusion = confusion_matrix(torch.cat(labels).cpu().numpy(), torch.cat(predictions).cpu().numpy(), data.classes)
    return loss_sum.item() / len(data.validation), metrics_of(confusion)
