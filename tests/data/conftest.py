"""Tiny images, encoded, and tables and folders of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

CIFAR10_200 = Path(__file__).parent / "fixtures" / "cifar10_200.parquet"


@pytest.fixture
def cifar_file() -> Path:
    """200 images of CIFAR-10's training split, 20 a class, in the layout of the Hugging Face hub."""
    return CIFAR10_200


@pytest.fixture
def png() -> Callable[..., bytes]:
    """A PNG of random pixels: png(seed, height, width, mode)."""

    def make(seed: int, height: int = 8, width: int = 8, mode: str = "RGB") -> bytes:
        channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}[mode]
        top, kind = (65536, np.uint16) if mode == "I;16" else (256, np.uint8)
        pixels = np.random.default_rng(seed).integers(0, top, (height, width, *channels)).astype(kind)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., str]:
    """A parquet file of encoded images: write_parquet(images, labels, name, class_names, **columns) -> its path."""

    def write(
        images: Sequence[bytes | None],
        labels: Sequence[Any],
        name: str = "train.parquet",
        class_names: Sequence[str] | None = None,
        **columns: Sequence[Any],
    ) -> str:
        struct = pa.array(
            [{"bytes": image, "path": None} for image in images], pa.struct({"bytes": pa.binary(), "path": pa.string()})
        )
        table = pa.table(
            {"image": struct, "label": pa.array(labels), **{key: pa.array(value) for key, value in columns.items()}}
        )
        if class_names is not None:
            features = {"image": {"_type": "Image"}, "label": {"names": list(class_names), "_type": "ClassLabel"}}
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, tmp_path / name, row_group_size=7)
        return str(tmp_path / name)

    return write
