from __future__ import annotations

import pytest
import torch

from cbam_search.data.augmentation import AUGMENTATIONS, augment, crop, cutout, flip
from cbam_search.errors import UnknownNameError

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.gpu),
]


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_contract(name: str, dtype: torch.dtype, device: str) -> None:
    x = torch.randint(1, 255, (64, 3, 12, 10), generator=generator(device=device), device=device).to(dtype)
    before = x.clone()
    for batch in (x, x.contiguous(memory_format=torch.channels_last)):
        changed = augment(batch, [name], generator(device=device))
        assert (changed.shape, changed.dtype, changed.device) == (x.shape, x.dtype, x.device)
        assert not torch.equal(changed, x)
        assert torch.equal(changed, augment(x, [name], generator(device=device)))
        assert not torch.equal(changed, augment(x, [name], generator(1, device)))
    assert torch.equal(x, before)


def test_each_image_is_cropped_at_an_offset_of_its_own() -> None:
    x = torch.rand(400, 2, 16, 24) + 1
    padded = torch.nn.functional.pad(x, (3, 3, 2, 2))
    offsets = [
        {
            (top, left)
            for top in range(5)
            for left in range(7)
            if torch.equal(window[:, top : top + 16, left : left + 24], image)
        }
        for window, image in zip(padded, crop(x, generator()), strict=True)
    ]
    assert all(len(found) == 1 for found in offsets)
    assert len(set.union(*offsets)) == 35


def test_cifar_images_are_padded_by_four_and_tiny_ones_by_one() -> None:
    for size, padding in ((32, 4), (8, 1), (4, 1), (28, 4)):
        rows = torch.arange(1.0, size + 1).expand(500, 1, size, size).transpose(2, 3)
        first = crop(rows, generator())[:, 0].amax(dim=2)[:, 0]
        shifts = {int(value) for value in first.unique()}
        assert max(shifts) == padding + 1


def test_flip_mirrors_about_half_of_the_images() -> None:
    x = torch.rand(1000, 1, 3, 5)
    flipped = flip(x, generator())
    mirrored = (flipped == x.flip(3)).flatten(1).all(1)
    same = (flipped == x).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 400 < mirrored.sum() < 600


def test_cutout_zeroes_one_square_of_half_the_side() -> None:
    x = torch.ones(500, 2, 8, 8)
    holes = cutout(x, generator()) == 0
    assert torch.equal(holes[:, 0], holes[:, 1])
    heights, widths = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(heights * widths, holes[:, 0].sum((1, 2)))
    assert (heights.max(), widths.max()) == (4, 4)
    assert heights.min() >= 1
    assert holes.any(0).all()


def test_names_are_applied_in_order_and_unknown_ones_refused() -> None:
    x = torch.rand(8, 3, 8, 8)
    one = generator()
    assert torch.equal(augment(x, ["flip", "crop"], generator()), crop(flip(x, one), one))
    assert augment(x, [], generator()) is x
    with pytest.raises(UnknownNameError, match="crop, flip, cutout"):
        augment(x, ["mixup"], generator())
