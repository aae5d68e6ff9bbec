"""Random changes to whole batches on the device where training runs.

Every image draws its own offsets from the given generator, which must live on the batch's device. No loop over images.
Legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from cbam_search.errors import UnknownNameError

Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def crop(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each image by up to an eighth of its size (at least 1 pixel, 4 for 32 x 32), the border filled with zeros.

    The same as padding with zeros and cropping at random (He et al. 2016, section 4.2). x: (N, C, H, W), any dtype.
    """
    n, _, h, w = x.shape
    pad_h, pad_w = max(1, round(h / 8)), max(1, round(w / 8))
    padded = torch.nn.functional.pad(x, (pad_w, pad_w, pad_h, pad_h))
    windows = padded.unfold(2, h, 1).unfold(3, w, 1)  # (N, C, 2 * pad_h + 1, 2 * pad_w + 1, H, W), a view
    top = _integers(n, windows.shape[2], x, generator)
    left = _integers(n, windows.shape[3], x, generator)
    return windows[torch.arange(n, device=x.device), :, top, left]


def flip(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image left to right with probability 1/2. Not for images that have a reading direction. x: (N, C, H, W)."""
    mirrored = _integers(len(x), 2, x, generator).bool()
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def cutout(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Set a square of half the smaller side to zero around a random pixel, cut off at the border (DeVries and Taylor 2017).

    Meant for normalised images, where zero is the mean of the training split. x: (N, C, H, W).
    """
    n, _, h, w = x.shape
    side = max(1, min(h, w) // 2)
    top = _integers(n, h, x, generator)[:, None] - side // 2
    left = _integers(n, w, x, generator)[:, None] - side // 2
    row, column = torch.arange(h, device=x.device), torch.arange(w, device=x.device)
    in_rows = (row >= top) & (row < top + side)
    in_columns = (column >= left) & (column < left + side)
    return torch.where(in_rows[:, None, :, None] & in_columns[:, None, None, :], 0, x)


AUGMENTATIONS: Mapping[str, Augmentation] = {"crop": crop, "flip": flip, "cutout": cutout}


def augment(x: torch.Tensor, names: Sequence[str], generator: torch.Generator) -> torch.Tensor:
    """Apply the named augmentations in order. Returns a tensor of the shape and dtype of `x`, which is left as it is.

    x: (N, C, H, W), uint8 or floating. Zeros that crop and cutout fill in are the mean when `x` is normalised before.
    Raises UnknownNameError for a name that is not in AUGMENTATIONS.
    """
    for name in names:
        if name not in AUGMENTATIONS:
            raise UnknownNameError(f"There is no augmentation '{name}'; there are: {', '.join(AUGMENTATIONS)}.")
        x = AUGMENTATIONS[name](x, generator)
    return x


def _integers(count: int, end: int, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(end, (count,), device=x.device, generator=generator)
