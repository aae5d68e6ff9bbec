"""A small real data set and a small net; both quick enough to train for a few epochs in every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from cbam_search.data.images import ImageData, ImageSplit


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """For nets this small, threads only wait for each other; on a busy machine eight times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> ImageData:
    """300 images for training and 200 for validation, read-only as Ray's object store gives them."""
    source = load_digits()
    pixels = (source.images[:500, None] * (255 / 16)).round().astype(np.uint8)
    labels = source.target[:500].astype(np.int64)
    pixels.flags.writeable = False
    labels.flags.writeable = False
    return ImageData(
        train=ImageSplit(pixels[:300], labels[:300]),
        validation=ImageSplit(pixels[300:], labels[300:]),
        test_count=0,
        class_names=tuple("0123456789"),
        mean=(0.3,),
        std=(0.37,),
        fingerprint="the first 500 digits",
        storage="memory",
    )


@pytest.fixture
def make_net() -> Callable[[], nn.Sequential]:
    """The same weights at every call. Dropout, so that the model's own randomness is tested too."""

    def make(width: int = 8) -> nn.Sequential:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(
                nn.Conv2d(1, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(2 * width),
                nn.ReLU(),
                nn.Flatten(),
                nn.Dropout(0.1),
                nn.Linear(2 * width * 16, 10),
            )

    return make
