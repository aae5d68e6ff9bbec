"""The data on the training device, and the batches of an epoch.

x: (B, C, H, W) float32, normalised, on the device. y: (B,) int64, on the device.
On CPU the arrays are used where they lie, read-only or memory-mapped, without a copy. On CUDA a split is moved once as
uint8 if it fits; else its batches are gathered by a thread into pinned memory while the GPU computes.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cbam_search.data.augmentation import augment
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.training.determinism import derived_seed

# Several trials may share a GPU, and activations need far more memory than images.
RESIDENT_SHARE_OF_FREE_MEMORY = 0.1
BATCHES_GATHERED_AHEAD = 2

Batch = tuple[torch.Tensor, torch.Tensor]


class DataOnDevice:
    """Both splits of an `ImageData`, ready for training on one device; may serve any number of trainings.

    Raises torch.OutOfMemoryError if not even the labels fit.
    """

    def __init__(self, data: ImageData, device: torch.device) -> None:
        self.device = device
        self.classes = data.classes
        self.fingerprint = data.fingerprint
        self.train = _split_on_device(data.train, device)
        self.validation = _split_on_device(data.validation, device)
        # A channel of one single colour has a deviation of 0.
        deviation = torch.tensor(data.std).clamp(min=1 / 255)
        self._scale = (1 / (255 * deviation)).view(1, -1, 1, 1).to(device)
        self._shift = (-torch.tensor(data.mean) / deviation).view(1, -1, 1, 1).to(device)

    def training_batches(self, batch_size: int, names: Sequence[str], *, seed: int, epoch: int) -> Iterator[Batch]:
        """Every training image once, shuffled and augmented; order and augmentation depend on (seed, epoch) alone."""
        order = torch.Generator().manual_seed(derived_seed(seed, epoch, "order"))
        draws = torch.Generator(self.device).manual_seed(derived_seed(seed, epoch, "augmentation"))
        shuffled = torch.randperm(len(self.train), generator=order)
        for pixels, y in self.train.batches(even_batches(shuffled, batch_size)):
            x = self._normalised(pixels)
            yield augment(x, names, draws) if names else x, y

    def evaluation_batches(self, batch_size: int) -> Iterator[Batch]:
        """Every validation image once, in the order of the split."""
        for pixels, y in self.validation.batches(even_batches(torch.arange(len(self.validation)), batch_size)):
            yield self._normalised(pixels), y

    def _normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.addcmul(self._shift, pixels.float(), self._scale)


def steps_per_epoch(images: int, batch_size: int) -> int:
    return math.ceil(images / batch_size)


def even_batches(indices: torch.Tensor, batch_size: int) -> list[torch.Tensor]:
    """Split indices (N,) into ceil(N / batch_size) batches whose sizes differ by one at most.

    No image is left out, and no small last batch upsets batch norm. Each batch is sorted: within it the order means
    nothing, and a memory-mapped file is then read forwards.
    """
    batches = torch.tensor_split(indices, steps_per_epoch(len(indices), batch_size))
    return [batch.sort().values for batch in batches]


class ResidentSplit:
    """Pixels and labels lie on the device."""

    def __init__(self, split: ImageSplit, device: torch.device) -> None:
        self._images = _without_copy(split.images).to(device)
        self._labels = _without_copy(split.labels).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, chosen: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """Pixels (B, C, H, W) uint8 and labels, on the device. chosen: the indices of each batch, (B,) int64 on CPU."""
        for indices in chosen:
            there = indices.to(self._labels.device, non_blocking=True)
            yield self._images.index_select(0, there), self._labels.index_select(0, there)


class StreamedSplit:
    """Labels lie on the device; pixels come from the host, gathered by a thread a few batches ahead."""

    def __init__(self, split: ImageSplit, device: torch.device) -> None:
        self._images = split.images
        self._labels = _without_copy(split.labels).to(device)

    def __len__(self) -> int:
        return len(self._labels)

    def batches(self, chosen: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """As `ResidentSplit.batches`, and equal to it."""
        device = self._labels.device
        waiting = iter(chosen)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="gather-images") as thread:
            ahead = deque(thread.submit(self._gather, batch) for batch in islice(waiting, BATCHES_GATHERED_AHEAD))
            for indices in chosen:
                pixels = ahead.popleft().result()
                ahead.extend(thread.submit(self._gather, batch) for batch in islice(waiting, 1))
                there = indices.to(device, non_blocking=True)
                yield pixels.to(device, non_blocking=True), self._labels.index_select(0, there)

    def _gather(self, indices: torch.Tensor) -> torch.Tensor:
        # torch does not hand out a pinned block again before the copy that reads it is done.
        shape = (len(indices), *self._images.shape[1:])
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self._labels.device.type == "cuda")
        np.take(self._images, indices.numpy(), axis=0, out=pixels.numpy(), mode="clip")
        return pixels


def _split_on_device(split: ImageSplit, device: torch.device) -> ResidentSplit | StreamedSplit:
    if device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(device)
        if split.images.nbytes > RESIDENT_SHARE_OF_FREE_MEMORY * free_bytes:
            return StreamedSplit(split, device)
    return ResidentSplit(split, device)


def _without_copy(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor over the array's own memory, which may be read-only: nothing here ever writes into it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
