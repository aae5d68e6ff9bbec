from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.training.batches import DataOnDevice, ResidentSplit, StreamedSplit, even_batches

CPU = torch.device("cpu")


def epoch_of(data: ImageData, *, seed: int, epoch: int, augment: tuple[str, ...] = ()) -> list[torch.Tensor]:
    return [x for x, _ in DataOnDevice(data, CPU).training_batches(64, augment, seed=seed, epoch=epoch)]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(("images", "sizes"), [(10, [4, 3, 3]), (8, [4, 4]), (9, [3, 3, 3]), (3, [3]), (5, [3, 2])])
def test_batches_are_evened_out(images: int, sizes: list[int]) -> None:
    batches = even_batches(torch.arange(images).flip(0), 4)
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(images))


def test_an_epoch_holds_every_training_image_once_with_its_label(digits: ImageData) -> None:
    batches = list(DataOnDevice(digits, CPU).training_batches(64, (), seed=0, epoch=3))
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    pixels = ((x * 0.37 + 0.3) * 255).round().to(torch.uint8).numpy()
    found = sorted((image.tobytes(), int(label)) for image, label in zip(pixels, y, strict=True))
    split = digits.train
    assert found == sorted((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))


def test_pixels_are_normalised_by_channel() -> None:
    split = ImageSplit(np.full((4, 2, 3, 3), 51, dtype=np.uint8), np.array([0, 1, 0, 1]))
    data = ImageData(split, split, 0, ("a", "b"), mean=(0.1, 0.2), std=(0.5, 0.0), fingerprint="", storage="memory")
    x, _ = next(DataOnDevice(data, CPU).evaluation_batches(4))
    torch.testing.assert_close(x[:, 0], torch.full((4, 3, 3), 0.2))
    assert x[:, 1].abs().max() < 1e-4, "a channel of one colour stays finite"


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(digits: ImageData) -> None:
    for augment in ((), ("crop", "cutout")):
        first = epoch_of(digits, seed=1, epoch=2, augment=augment)
        torch.rand(7)
        assert same(first, epoch_of(digits, seed=1, epoch=2, augment=augment))
        assert not same(first, epoch_of(digits, seed=1, epoch=3, augment=augment))
        assert not same(first, epoch_of(digits, seed=2, epoch=2, augment=augment))
    assert not same(epoch_of(digits, seed=1, epoch=2), epoch_of(digits, seed=1, epoch=2, augment=("crop",)))


def test_evaluation_keeps_the_order_of_the_split(digits: ImageData) -> None:
    labels = torch.cat([y for _, y in DataOnDevice(digits, CPU).evaluation_batches(64)])
    np.testing.assert_array_equal(labels, digits.validation.labels)


def test_read_only_arrays_are_used_where_they_lie_and_without_a_warning(digits: ImageData) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = ResidentSplit(digits.train, CPU)
    assert split._images.data_ptr() == digits.train.images.ctypes.data


def test_a_memory_mapped_split_streams_the_same_batches(digits: ImageData, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", digits.train.images)
    mapped = dataclasses.replace(digits.train, images=np.load(tmp_path / "images.npy", mmap_mode="r"))
    chosen = even_batches(torch.randperm(300, generator=torch.Generator().manual_seed(0)), 64)
    resident = ResidentSplit(digits.train, CPU).batches(chosen)
    for (x, y), (streamed_x, streamed_y) in zip(resident, StreamedSplit(mapped, CPU).batches(chosen), strict=True):
        assert torch.equal(x, streamed_x)
        assert torch.equal(y, streamed_y)


def test_a_stream_may_be_left_half_way(digits: ImageData) -> None:
    batches = StreamedSplit(digits.train, CPU).batches(even_batches(torch.arange(300), 10))
    next(batches)
    batches.close()  # type: ignore[attr-defined]
