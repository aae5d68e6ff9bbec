"""`memory_limit_gib` bounds what is held of images at every moment, measured in a process of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see a process's own memory")

LIMIT_MIB = 100
MEASURED = """
import re, sys, threading, time
from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load

def own_mib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024

load(DatasetConfig(source="digits"), seed=0)
before = peak = own_mib()
done = threading.Event()

def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, own_mib())

watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
data = load(DatasetConfig.model_validate_json(sys.argv[1]), seed=0)
done.set()
watcher.join()
print(data.storage, data.channels, peak - before)
"""


def encoded(seed: int, side: int, *, grey: bool = False, kind: str = "PNG") -> bytes:
    """One colour but for a corner, so that it is soon made; kind BMP: not compressed."""
    buffer = io.BytesIO()
    pixels = np.full((side, side) if grey else (side, side, 3), seed, np.uint8)
    pixels[: side // 2, : side // 2] = 255
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def load_measured(folder: Path, images: Sequence[bytes], settings: str) -> tuple[str, int, float]:
    """(storage, channels, peak in MiB) of loading one row group of these images."""
    file = folder / "train.parquet"
    table = pa.table({"image": pa.array(images, pa.binary()), "label": [row % 2 for row in range(len(images))]})
    pq.write_table(table, file, use_dictionary=False, compression="none", write_batch_size=1)
    config = f'{{"source": "parquet", "train": "{file}", "cache_folder": "{folder / "cache"}", {settings}}}'
    run = subprocess.run(
        [sys.executable, "-c", MEASURED, config],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    storage, channels, peak_mib = run.stdout.split()
    return storage, int(channels), float(peak_mib)


def gib(mib: float) -> str:
    return f'"memory_limit_gib": {mib / 1024}'


@pytest.mark.slow
def test_enlarged_images_while_size_and_channels_are_found_and_while_decoding(tmp_path) -> None:
    """70 decoded ones take 1 GiB."""
    storage, _, peak_mib = load_measured(
        tmp_path, [encoded(seed, 8) for seed in range(70)], f'"image_size": 2240, {gib(LIMIT_MIB)}'
    )
    assert storage == "memory_mapped"
    assert peak_mib < 1.5 * LIMIT_MIB


@pytest.mark.slow
def test_images_of_their_own_size(tmp_path) -> None:
    """24 decoded ones take 275 MiB."""
    images = [encoded(seed, 2000) for seed in range(24)]
    storage, _, peak_mib = load_measured(tmp_path, images, gib(LIMIT_MIB))
    assert storage == "memory_mapped"
    assert peak_mib < 1.5 * LIMIT_MIB


def test_grey_images_are_not_kept_when_colour_turns_up(tmp_path) -> None:
    """Grey ones take 24 MiB, the same in colour 72 MiB."""
    images = [*(encoded(seed, 8, grey=True) for seed in range(99)), encoded(99, 8)]
    storage, channels, peak_mib = load_measured(tmp_path, images, f'"image_size": 500, {gib(80)}')
    assert (storage, channels) == ("memory", 3)
    assert peak_mib < 92


@pytest.mark.slow
def test_a_row_group_is_not_read_as_a_whole(tmp_path) -> None:
    """The encoded images of the one row group take 286 MiB."""
    images = [encoded(seed, 1000, kind="BMP") for seed in range(100)]
    assert sum(map(len, images)) > 280 * 2**20
    _, _, peak_mib = load_measured(tmp_path, images, f'"image_size": 8, {gib(LIMIT_MIB)}')
    assert peak_mib < 1.5 * LIMIT_MIB
