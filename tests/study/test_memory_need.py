"""Images and batches that no training could hold are refused from their shapes, before anything is loaded."""

from __future__ import annotations

import pytest

from cbam_search.data.load import machine_memory_bytes
from cbam_search.errors import SpaceError
from cbam_search.space.space import Space
from cbam_search.study.config import StudyConfig
from cbam_search.study.memory_need import check_image_size, check_memory, even_batch_size

GIB = 2**30


def config(image_size: int = 8, batch_size: int = 64, **resources: object) -> StudyConfig:
    return StudyConfig.model_validate(
        {
            "name": "x",
            "dataset": {"source": "digits", "image_size": image_size},
            "backbone": {"family": "cifar_resnet", "depth": 8, "width": [0.25, 4.0]},
            "training": {"batch_size": batch_size},
            "resources": {"gpus_per_trial": 0} | resources,
        }
    )


def space(given: StudyConfig) -> Space:
    return Space(given.backbone, given.attention, in_channels=1, classes=10)  # type: ignore[arg-type]


def test_an_image_size_that_no_machine_could_train_on() -> None:
    with pytest.raises(SpaceError, match=r"2 images of 100,000 x 100,000 takes [\d,.]+ GiB of feature.*image_size"):
        check_image_size(config(100_000))
    check_image_size(config(64))


def test_the_batch_of_the_smallest_network_counts() -> None:
    # The image, and the largest map of each block: 4 channels in the first, what enters with 4 and with 8 in those that stride.
    side, batch = 1024, 65_536
    bytes_of_a_batch = 4 * batch * side**2 * (1 + 4 + 4 + 8 / 4)
    assert bytes_of_a_batch > machine_memory_bytes()
    given = config(batch_size=batch)
    with pytest.raises(SpaceError, match=f"65,536 images of 1,024 x 1,024 takes {bytes_of_a_batch / GIB:,.1f} GiB"):
        check_memory(given, space(given), (side, side), images=batch)
    check_memory(given, space(given), (side, side), images=2)


def test_elsewhere_this_machine_s_memory_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    check_image_size(config(100_000, address="auto"))
    check_image_size(config(100_000, gpus_per_trial=0.5))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    check_image_size(config(100_000))
    with pytest.raises(SpaceError):
        check_image_size(config(100_000, executor="inline"))


@pytest.mark.parametrize(("images", "batch_size", "smallest"), [(100, 64, 50), (64, 64, 64), (1, 64, 1), (5, 4, 2)])
def test_the_smallest_batch_of_an_epoch(images: int, batch_size: int, smallest: int) -> None:
    assert even_batch_size(images, batch_size) == smallest
