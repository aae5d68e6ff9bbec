from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cbam_search.cost.config import LatencyConfig
from cbam_search.cost.device import Device
from cbam_search.cost.latency import LatencySetting, Ratio
from cbam_search.cost.latency_cache import LatencyCache, default_folder

SETTING = LatencySetting.of(
    LatencyConfig(device="cpu"), Device("cpu", "some processor"), channels=3, image_size=(32, 32), threads=1
)
RATIO = Ratio(2.0, 0.1)


def test_what_was_kept_is_found_by_anyone(tmp_path: Path) -> None:
    assert LatencyCache(tmp_path).ratio(SETTING, "a") is None
    assert LatencyCache(tmp_path).nominal_ms(SETTING) is None
    LatencyCache(tmp_path).keep_ratio(SETTING, "a", RATIO)
    LatencyCache(tmp_path).keep_nominal_ms(SETTING, 1.5)
    assert LatencyCache(tmp_path).ratio(SETTING, "a") == RATIO
    assert LatencyCache(tmp_path).nominal_ms(SETTING) == 1.5
    assert LatencyCache(tmp_path).ratio(SETTING, "b") is None


@pytest.mark.parametrize(
    "change",
    [
        {"device": Device("cpu", "another processor")},
        {"batch_size": 2},
        {"channels": 1},
        {"image_size": (32, 64)},
        {"precision": "bfloat16"},
        {"threads": 2},
        {"pairs": 51},
        {"versions": {"torch": "0.1"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_that_a_latency_depends_on_is_in_the_key(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = LatencyCache(tmp_path)
    cache.keep_ratio(SETTING, "a", RATIO)
    cache.keep_nominal_ms(SETTING, 1.5)
    other = replace(SETTING, **change)
    assert cache.ratio(other, "a") is None
    assert cache.nominal_ms(other) is None


def test_the_first_nominal_figure_stays(tmp_path: Path) -> None:
    assert LatencyCache(tmp_path).keep_nominal_ms(SETTING, 1.5) == 1.5
    assert LatencyCache(tmp_path).keep_nominal_ms(SETTING, 2.5) == 1.5


@pytest.mark.parametrize("content", ["", "{", "[]", '{"measured": {"median": "x"}}', '{"measured": 3}'])
def test_a_damaged_file_is_measured_again(tmp_path: Path, content: str) -> None:
    cache = LatencyCache(tmp_path)
    cache.keep_ratio(SETTING, "a", RATIO)
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    assert cache.ratio(SETTING, "a") is None
    cache.keep_ratio(SETTING, "a", RATIO)
    assert cache.ratio(SETTING, "a") == RATIO


def test_it_lies_beside_the_cache_of_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "cbam-search" / "latency"
