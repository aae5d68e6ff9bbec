from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cbam_search.data import pixel_statistics
from cbam_search.data.images import ImageSplit
from cbam_search.data.pixel_statistics import measure


@pytest.mark.parametrize("piece_bytes", [5, 500, 2**22])
def test_figures_and_digest_do_not_depend_on_the_pieces(piece_bytes, monkeypatch) -> None:
    monkeypatch.setattr(pixel_statistics, "_PIECE_BYTES", piece_bytes)
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 7, 5), dtype=np.uint8)
    images[:, 2] = 9
    labels = np.arange(30)
    hasher = hashlib.sha256()
    mean, std = measure({"validation": ImageSplit(images[:3], labels[:3]), "train": ImageSplit(images, labels)}, hasher.update)
    assert mean == pytest.approx(images.mean(axis=(0, 2, 3)) / 255)
    assert std[:2] == pytest.approx(images.std(axis=(0, 2, 3))[:2] / 255)
    assert std[2] == 1 / 255
    parts = [b"\nvalidation (3, 3, 7, 5)\n", labels[:3].tobytes(), images[:3].tobytes()]
    parts += [b"\ntrain (30, 3, 7, 5)\n", labels.tobytes(), images.tobytes()]
    assert hasher.hexdigest() == hashlib.sha256(b"".join(parts)).hexdigest()
