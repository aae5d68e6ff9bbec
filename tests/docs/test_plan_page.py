"""docs/plan.md shows what `plan` prints, and the thresholds that it warns by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cbam_search.cli.commands import app
from cbam_search.report import plan_warnings
from cbam_search.running.probe import PROBED_SECONDS
from cbam_search.search import distribution
from cbam_search.study.time_estimate import PROPOSALS


@pytest.mark.slow
def test_the_plan_that_the_page_shows(blocks: Callable[[str, str], list[str]], root: Path) -> None:
    (shown,) = blocks("plan.md", "text")
    space = root / "search_spaces" / "cifar10_resnet.yaml"
    result = CliRunner().invoke(app, ["plan", str(space), "--image-size", "32", "--classes", "10"])
    assert result.output == shown


def test_the_numbers_of_the_page(root: Path) -> None:
    page = " ".join((root / "docs" / "plan.md").read_text(encoding="utf-8").split())
    assert f"less than {100 * plan_warnings.FLAT_AXIS:g} % of the largest" in page
    assert f"under {100 * plan_warnings.SMALL_SHARE:g} % of the space" in page
    assert f"above {100 * plan_warnings.LARGE_ERROR:g} point" in page
    assert f"{distribution.CELLS[1]:,} steps" in page
    assert f"{distribution.CELLS[2]:,} by {distribution.CELLS[2]:,}" in page
    assert f"{PROPOSALS} random proposals" in page
    assert f"about {PROBED_SECONDS:g} s" in page
