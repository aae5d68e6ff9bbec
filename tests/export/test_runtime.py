from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import save

from cbam_search.export.runtime import SAFETENSORS_DTYPES, fit, read_safetensors


def test_reads_what_safetensors_writes(tmp_path):
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in SAFETENSORS_DTYPES.values()}
    tensors |= {"scalar": torch.tensor(3), "empty": torch.empty(0, 4)}
    path = tmp_path / "x.safetensors"
    path.write_bytes(save(tensors, metadata={"format": "pt"}))
    found = read_safetensors(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def file_of(entry: dict, data: bytes) -> bytes:
    header = json.dumps({"w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x05\x00\x00",
        (10**9).to_bytes(8, "little") + b"{}",
        file_of({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, b"1234"),
        file_of({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, b"12345678"),
        file_of({"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}, b"12345678"),
        file_of({"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}, b"12345678"),
        file_of({"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}, b"12345678"),
        file_of({"dtype": "F32", "shape": [10**12, 10**3], "data_offsets": [0, 8]}, b"12345678"),
        file_of({"dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8]}, b"12345678"),
    ],
)
def test_a_damaged_file_is_refused(content, tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors"):
        read_safetensors(path)


@pytest.mark.parametrize(("found", "wanted"), [((16, 32), (8, 8)), ((8, 8), (20, 12)), ((40, 20), (30, 15)), ((9, 9), (9, 9))])
def test_fit_is_what_ingestion_does(found, wanted):
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 1, 4, 4), size=found, mode="bicubic").clamp(0, 1)
    images = (64 + 127 * smooth).to(torch.uint8)  # away from 0 and 255, where Pillow clips between its two passes
    expected = ImageOps.fit(Image.fromarray(images[0, 0].numpy()), wanted[::-1], Image.Resampling.BICUBIC)
    difference = fit(images, wanted)[0, 0].float().numpy() - np.asarray(expected, dtype=np.float32)
    assert np.abs(difference).max() <= 2
