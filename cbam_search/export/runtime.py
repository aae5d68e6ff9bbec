"""Reading weights and preparing images with torch alone."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name. The format: the length of a JSON header in 8 bytes, the header, then the bytes of the tensors.

    Raises ValueError where the header does not fit the file.
    """
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or start > len(data):
        raise ValueError(f"{path} is not a whole safetensors file")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        dtype, shape = SAFETENSORS_DTYPES.get(entry["dtype"]), entry["shape"]
        begin, end = (start + offset for offset in entry["data_offsets"])
        if dtype is None:
            raise ValueError(f"{path}: tensor '{name}' is of type {entry['dtype']}, which is not read here")
        if not start <= begin <= end <= len(data) or min(shape, default=0) < 0 or end - begin != prod(shape) * dtype.itemsize:
            raise ValueError(f"{path}: tensor '{name}' lies outside the file or has the wrong size")
        if end > begin:
            tensors[name] = torch.frombuffer(bytearray(data[begin:end]), dtype=dtype).reshape(shape)
        else:
            tensors[name] = torch.empty(shape, dtype=dtype)
    return tensors


def check_images(images: object, channels: int) -> None:
    """Raise TypeError or ValueError, in a sentence, for what is no batch of images (N, channels, H, W) of uint8."""
    wanted = f"images: give a torch tensor of shape (N, {channels}, H, W) and type uint8, with values from 0 to 255"
    if not isinstance(images, Tensor):
        name = f"{type(images).__module__}.{type(images).__qualname__}".removeprefix("builtins.")
        raise TypeError(f"{wanted}. This is {'an' if name[0] in 'aeiou' else 'a'} {name}")
    given = f"This one has shape {tuple(images.shape)} and type {str(images.dtype).removeprefix('torch.')}"
    if images.dim() == 3 and images.shape[0] == channels:
        raise ValueError(f"{wanted}. {given}: images.unsqueeze(0) makes a batch of a single image")
    if images.dim() == 3 and channels == 1:
        raise ValueError(f"{wanted}. {given}: images.unsqueeze(1) adds the channel")
    if images.dim() == 4 and images.shape[1] != channels and images.shape[3] == channels:
        raise ValueError(f"{wanted}. {given}: images.permute(0, 3, 1, 2) brings the channels to their place")
    if images.dim() != 4 or images.shape[1] != channels:
        raise ValueError(f"{wanted}. {given}")
    if 0 in images.shape:
        raise ValueError(f"{wanted}, none of them 0. {given}, so that it holds no image")
    if images.dtype != torch.uint8:
        raise ValueError(f"{wanted}. {given}{_how_to_convert(images)}")


def _how_to_convert(images: Tensor) -> str:
    if images.is_complex():
        return ""
    if images.is_floating_point() and not bool(images.isfinite().all()):
        return ", and holds values that are not finite"
    low, high = images.min().item(), images.max().item()
    if images.is_floating_point() and low >= 0 and high <= 1:
        return ". Where its values are from 0 to 1, (images * 255).round().to(torch.uint8) converts it"
    within = ": images.to(torch.uint8) converts it" if low >= 0 and high <= 255 else ""
    return f", with values from {low:g} to {high:g}{within}"


def fit(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (N, C, H, W) of uint8 to (N, C, *size): resized to cover it (bicubic, antialiased), then cropped at the centre."""
    found = (images.shape[2], images.shape[3])
    if found == size:
        return images
    scale = max(size[0] / found[0], size[1] / found[1])
    covering = (max(size[0], round(found[0] * scale)), max(size[1], round(found[1] * scale)))
    resized = F.interpolate(images.float(), size=covering, mode="bicubic", antialias=True).round().clamp(0, 255)
    top, left = (covering[0] - size[0]) // 2, (covering[1] - size[1]) // 2
    return resized[:, :, top : top + size[0], left : left + size[1]]


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images (N, C, H, W) with values 0 to 255 to float32, scaled to [0, 1] and normalised by channel."""
    shift, scale = (torch.tensor(values, device=images.device).view(1, -1, 1, 1) for values in (mean, std))
    return (images.float() / 255 - shift) / scale
