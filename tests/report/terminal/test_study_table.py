from __future__ import annotations

import io
import math
from dataclasses import replace

import pytest
from architectures import with_attention
from rich.console import Console
from synthetic_study import ACCURACY, GFLOPS, PALETTE, PARAMS, backbone, complete, ended, manifest

from cbam_search.architecture.architecture import published
from cbam_search.metrics import binomial_error
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Origin, Trial, TrialState
from cbam_search.report.terminal.study_table import print_study_table, stopped_text

FOUND = with_attention(backbone(14, 0.5), (None, PALETTE[1], PALETTE[2], None, None, None))
BARE, SE, CBAM = (published(backbone(14, 0.5), kind) for kind in (None, "se", "cbam"))


def trials() -> list[Trial]:
    return [
        complete(0, 0.90, 0.0012, architecture=BARE, origin=Origin.PUBLISHED),
        complete(1, 0.93, 0.0014, architecture=SE, origin=Origin.PUBLISHED),
        complete(7, 0.95, 0.0013, architecture=FOUND),
        complete(8, 0.80, 0.0015, architecture=FOUND),
        ended(9, TrialState.STOPPED),
    ]


def printed(
    *, width: int = 80, is_terminal: bool = False, objectives: tuple[ObjectiveAxis, ...] = (ACCURACY, GFLOPS)
) -> list[str]:
    asked = manifest(objectives=objectives).model_copy(
        update={"published": (BARE.label, SE.label, CBAM.label), "excluded": ("cifar_resnet20+cbam",)}
    )
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None)
    print_study_table(console, asked, trials()[:-1], front_of(trials(), objectives))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def row(lines: list[str], start: str) -> list[str]:
    (found,) = [line.split() for line in lines if line.split()[:1] == [start]]
    return found


def test_front_first_and_every_published_design_beside_it() -> None:
    lines = printed()
    assert lines[0] == "Pareto front of study digits: 2 of 4 complete trials, hypervolume 0.8495"
    assert row(lines, "0*") == ["0*", "cifar_resnet14_0.5", "..|..|..", "90.00", "+/-", "2.26", "0.0012", "18,000", "yes"]
    assert row(lines, "7") == ["7", "cifar_resnet14_0.5", ".S|C.|..", "95.00", "+/-", "1.66", "0.0013", "19,500", "yes"]
    assert row(lines, "1*")[-1] == "no"
    order = [line.split()[0] for line in lines[3:9] if line]
    assert order == ["0*", "7", "1*", "*", "*"]
    assert [line.split() for line in lines if line.split()[:1] == ["*"]] == [
        ["*", "cifar_resnet14_0.5+cbam", "not", "trained"],
        ["*", "cifar_resnet20+cbam", "excluded"],
    ]


def test_caption_says_what_the_figures_are() -> None:
    text = " ".join(printed())
    for words in (
        "1 GFLOP = 1e9 multiply-adds",
        "180 validation images",
        "after the last epoch",
        "one seed a trial",
        "one standard error",
        "S se",
        "published design",
        "breaks a constraint",
    ):
        assert words in text


def test_piped_is_ascii_and_never_cut() -> None:
    lines = printed(width=30)
    assert "\n".join(lines).isascii()
    assert "cifar_resnet14_0.5+cbam" in "\n".join(lines)
    assert row(lines, "1*")[1] == "cifar_resnet14_0.5+se"


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_gets_it_fitted(width: int) -> None:
    lines = printed(width=width, is_terminal=True)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    assert "±" in "\n".join(lines)
    assert (row(lines, "1*")[1] == "cifar_resnet14_0.5+se") is (width > 80)


def test_other_objectives_have_their_columns() -> None:
    f1 = ObjectiveAxis(name="macro_f1", direction="max", reference=0.1, ideal=1.0)
    shown = [
        Trial(trial.number, trial.candidate, trial.outcome.model_copy(update={"values": {**trial.values, "macro_f1": 0.5}}))
        for trial in trials()
        if trial.outcome and trial.values
    ]
    console = Console(file=io.StringIO())
    asked = manifest(objectives=(f1, PARAMS))
    print_study_table(console, asked, shown, front_of(shown, asked.objectives))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "macro F1 (%)" in text
    assert "standard error" not in text
    assert text.count("GFLOPs") == 1


def test_no_complete_trial_yet() -> None:
    console = Console(file=io.StringIO())
    print_study_table(console, manifest(), [], front_of([], (ACCURACY, GFLOPS)))
    assert "0 of 0 complete trials" in console.file.getvalue()  # type: ignore[attr-defined]


def test_standard_error_is_binomial_and_never_zero() -> None:
    assert binomial_error(0.9, 10_000) == pytest.approx(math.sqrt(0.9 * 0.1 / 10_000), rel=1e-3)
    assert binomial_error(0.9, 500) == pytest.approx(0.0134, abs=1e-4)
    assert binomial_error(1.0, 180) > 0
    assert binomial_error(0.0, 180) == pytest.approx(binomial_error(1.0, 180))


def test_stopped_trials_are_counted_by_their_epoch_below_the_table() -> None:
    stopped = [ended(number, TrialState.STOPPED, epochs=epochs) for number, epochs in enumerate((9, 3, 3, 9, 3), start=20)]
    assert stopped_text(stopped[:1]) == "Stopped early, so not compared here: 1 trial after 9 epochs."
    assert stopped_text(trials()[:4]) == ""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_study_table(console, manifest(), [*trials()[:4], *stopped], front_of(trials(), (ACCURACY, GFLOPS)))
    assert isinstance(console.file, io.StringIO)
    assert "Stopped early, so not compared here: 3 trials after 3 epochs, 2 after 9." in console.file.getvalue()


def test_results_of_an_earlier_numerics_version_are_marked_and_explained() -> None:
    def shown(versions: tuple[int, int, int]) -> str:
        found = [
            replace(trial, outcome=trial.outcome.model_copy(update={"numerics_version": version}))
            for trial, version in zip(trials()[:3], versions, strict=True)
            if trial.outcome is not None
        ]
        console = Console(file=io.StringIO(), width=200, color_system=None)
        print_study_table(console, manifest(), found, front_of(found, (ACCURACY, GFLOPS)))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    text = shown((1, 2, 2))
    numbers = [line.split()[0] for line in text.splitlines() if line.strip()[:1].isdigit() and "cifar" in line]
    assert numbers == ["0*!", "7", "1*"]
    assert "numerics version 1, the others 2" in " ".join(text.split())
    assert "!" not in shown((1, 1, 1))
