"""Figures in the text are those of the output that it speaks of, so that a new run shows which sentences are out of date."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cbam_search.architecture import Architecture
from cbam_search.cost.model import CostModel
from cbam_search.export.verification import TOLERANCE
from cbam_search.metrics import binomial_error
from cbam_search.study.config import StudyConfig, read_study_config
from cbam_search.study.yaml_file import parse_yaml

Blocks = Callable[[str, str], list[str]]

WITHOUT_A_SOURCE_HERE = (
    "2 cores of an AMD EPYC",
    "the command 34 s",  # by the clock; no output tells it
    "0: done",
    "1: the study failed",
    "2: something you can fix",
    "130: Ctrl-C, or ; 143: SIGTERM; 129: SIGHUP; 141: nobody reads",
    "1 GFLOP is 1e9 multiply-adds",
    "from 0 to 1",
)
"""What else the README may say in digits."""

_ROW = re.compile(r"^ +\d+\*? +(\S+) +\S+ +([\d.]+) \+/- ([\d.]+) +([\d.]+) +([\d,]+) +(yes|no)$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """A line of the front that the README quotes. accuracy, standard_error: percent."""

    name: str
    accuracy: float
    standard_error: float
    gflops: float
    params: int
    on_front: bool

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} +/- {self.standard_error:.2f}"

    def dominates(self, other: Row) -> bool:
        mine, theirs = (self.accuracy, -self.gflops), (other.accuracy, -other.gflops)
        return mine != theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1]


@pytest.fixture
def shown(blocks: Blocks) -> str:
    """What the quickstart printed, as the README quotes it."""
    (text,) = [text for text in blocks("README.md", "text") if "Pareto front" in text]
    return text


@pytest.fixture
def rows(shown: str) -> dict[str, Row]:
    found = _ROW.findall(shown)
    assert len(found) == len(re.findall(r"^ +\d", shown, re.MULTILINE))
    return {
        name: Row(name, float(accuracy), float(error), float(gflops), int(params.replace(",", "")), on_front == "yes")
        for name, accuracy, error, gflops, params, on_front in found
    }


@pytest.fixture
def quickstart(root: Path) -> StudyConfig:
    return read_study_config(root / "search_spaces" / "quickstart.yaml")[0]


def _prose(text: str) -> str:
    """The text on one line, without blocks, code, tables, HTML, and where links lead."""
    for left_out in (r"^```.*?^```$", r"`[^`]*`", r"^\|.*$", r"<[^>]*>", r"(?<=\])\([^)]*\)", r"\*\*"):
        text = re.sub(left_out, "", text, flags=re.MULTILINE | re.DOTALL if left_out.startswith("^`") else re.MULTILINE)
    return " ".join(text.split())


def test_the_table_is_one_of_the_quickstart(rows: dict[str, Row], shown: str, quickstart: StudyConfig) -> None:
    cost = CostModel((8, 8)).cost
    images = round(1797 * quickstart.dataset.validation_fraction)
    for row in rows.values():
        known = cost(Architecture.named(row.name, classes=10, in_channels=1))
        assert row.gflops == pytest.approx(known.gflops, rel=1e-3)
        assert row.params == known.params
        assert row.standard_error == pytest.approx(100 * binomial_error(row.accuracy / 100, images), abs=0.006)
        assert row.on_front is not any(other.dominates(row) for other in rows.values())
    trials, front = quickstart.search.trials, sum(row.on_front for row in rows.values())
    assert f"{trials} of {trials} trainings finished" in shown
    assert f"front of {front}," in shown
    assert f"{front} of {trials} complete trials" in shown


def test_the_readme_has_no_other_figures(
    rows: dict[str, Row], shown: str, quickstart: StudyConfig, blocks: Blocks, root: Path
) -> None:
    own = parse_yaml(blocks("README.md", "yaml")[0], "space.yaml", StudyConfig)
    backbones = len(own.backbone.depth) * len(own.backbone.width)
    cost = CostModel((224, 224)).cost
    bare, with_cbam = (f"{cost(Architecture.named(name)).gflops:.3f}" for name in ("resnet50", "resnet50+cbam"))
    project = (root / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    *pythons, newest = re.findall(r"Python :: (3\.\d+)", project)
    assert pythons[0] == oldest
    (seconds,) = re.findall(r"finished, 0:(\d\d) elapsed", shown)
    se, cbam = rows["cifar_resnet8_0.25+se"], rows["cifar_resnet8_0.25+cbam"]
    sentences = (
        f"Python {', '.join(pythons)} or {newest}",
        f"{quickstart.search.trials} trainings of {quickstart.training.epochs} epochs",
        f"the trainings took {seconds} s",
        f"all rows are published designs: none of the {quickstart.search.trials - len(rows)} other networks reached the front",
        f"{backbones * len(own.search.baselines)} of {own.search.trials} (four backbones, three designs each)",
        f"the same outputs to 1e-{round(-math.log10(TOLERANCE))} of the largest",
        f"SE has {se} and CBAM {cbam}. These ranges overlap",
        f"resnet50 has {bare} GFLOPs and resnet50+cbam {with_cbam}",
        *WITHOUT_A_SOURCE_HERE,
    )
    text = _prose((root / "README.md").read_text(encoding="utf-8"))
    for sentence in sentences:
        assert sentence in text
        text = text.replace(sentence, "")
    assert not re.findall(r".{0,40}(?<![\w-])\d.{0,20}", text), "figures that nothing here checks"

    assert shown.count("* ") == len(rows)
    assert se.accuracy - se.standard_error < cbam.accuracy + cbam.standard_error
    assert quickstart.search.published_backbones * len(quickstart.search.baselines) == 6, "Six of them are trained first"


@pytest.mark.parametrize(
    ("page", "beginning", "results"),
    [
        ("latency.md", "How well that works", ["latency"]),
        ("samplers.md", "`python benchmarks/ten_thousand", ["ten_thousand_trials_known_cost", "ten_thousand_trials_random"]),
    ],
    ids=["latency.md", "samplers.md"],
)
def test_measurements_that_a_page_quotes(root: Path, page: str, beginning: str, results: list[str]) -> None:
    (paragraph,) = [text for text in (root / "docs" / page).read_text().split("\n\n") if text.startswith(beginning)]
    outputs = "".join((root / "benchmarks" / "results" / f"{name}.txt").read_text() for name in results)
    measured = {f"{float(figure):.1f}" for figure in re.findall(r"\d+\.\d+", outputs)}
    quoted = re.findall(r"\d+\.\d+", paragraph)
    assert quoted
    assert set(quoted) <= measured
