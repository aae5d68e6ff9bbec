"""Metrics, their errors, and that adding one is one entry."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from sklearn import metrics as sklearn_metrics
from sklearn.datasets import load_digits
from studies import space_of
from synthetic_study import candidate, manifest
from torch import nn

from cbam_search.cost.model import CostModel
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.errors import UnknownNameError
from cbam_search.metrics import (
    LATENCY,
    METRICS,
    Confusion,
    Measured,
    Metric,
    accuracy,
    balanced_accuracy,
    binomial_error,
    confusion_matrix,
    known_values,
    macro_f1,
    metric,
    names_of,
    tolerance,
    trained_values,
)
from cbam_search.records.front import front_of
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.report.terminal.study_table import print_study_table
from cbam_search.search.reference import objective_axes
from cbam_search.search.sampler_registry import known_cost_objectives
from cbam_search.search.space_costs import space_costs
from cbam_search.training.config import TrainingConfig
from cbam_search.training.loop import Training, train

CASES = {
    "all classes": ([0, 1, 2, 2, 1, 0, 2], [0, 2, 2, 1, 1, 0, 2]),
    "a class absent from the labels": ([0, 1, 1, 0, 3, 3], [0, 1, 2, 0, 3, 1]),
    "a class absent from both": ([0, 0, 1, 1], [0, 1, 1, 1]),
    "a class never predicted": ([0, 1, 2, 3], [0, 1, 1, 1]),
    "all wrong": ([0, 1], [1, 0]),
    "one class alone": ([2, 2, 2], [2, 2, 2]),
}
Of = Callable[[Confusion], Measured]


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_scikit_learn(case: str) -> None:
    labels, predictions = (np.array(values, dtype=np.int64) for values in CASES[case])
    ours = {name: measured.value for name, measured in trained_values(confusion_matrix(labels, predictions, classes=5)).items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = sklearn_metrics.balanced_accuracy_score(labels, predictions)
        macro = sklearn_metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    assert ours["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(labels, predictions))
    assert ours["balanced_accuracy"] == pytest.approx(balanced)
    assert ours["macro_f1"] == pytest.approx(macro)


def test_metrics_of_random_predictions_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 7, 400), random.integers(0, 7, 400)
    confusion = confusion_matrix(labels, predictions, classes=7)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(labels, predictions))
    expected = sklearn_metrics.f1_score(labels, predictions, average="macro")
    assert macro_f1(confusion).value == pytest.approx(expected)


# Rows are labels.
UNEVEN = np.array([[360, 28, 6, 6], [40, 140, 16, 4], [10, 24, 260, 6], [2, 12, 20, 66]])
"""Of 1,000 images in four classes, the smallest of a tenth."""
POOR = np.array([[40, 60, 50], [30, 90, 30], [45, 75, 80]])
"""Of 500 images, less than half of them right."""
RARE = np.array([[880, 20, 0, 0], [30, 50, 0, 20], [0, 0, 0, 0], [3, 12, 0, 35]])
"""Of 1,050 images, none of them of the third class."""
CONFUSIONS = {"uneven": UNEVEN, "poor": POOR, "rare": RARE}


@pytest.mark.parametrize("confusion", CONFUSIONS.values(), ids=CONFUSIONS)
@pytest.mark.parametrize("of", [accuracy, balanced_accuracy, macro_f1])
def test_errors_are_those_of_a_bootstrap(of: Of, confusion: Confusion) -> None:
    """Images drawn anew 4,000 times, which has an error of one per cent itself."""
    images = int(confusion.sum())
    drawn = np.random.default_rng(0).multinomial(images, confusion.ravel() / images, size=4000)
    values = [of(resample.reshape(confusion.shape)).value for resample in drawn]
    measured = of(confusion)
    assert measured.n == images
    assert measured.standard_error == pytest.approx(np.std(values), rel=0.05)


def error_of_macro_f1_by_the_paper(confusion: Confusion) -> float:
    """Takahashi et al. 2022, equation 7: class by class and pair by pair, without a derivative."""
    shares, classes = confusion / confusion.sum(), len(confusion)
    total = 0.0
    both = [float(shares[place].sum() + shares[:, place].sum()) for place in range(classes)]
    f1 = [2 * float(shares[place, place]) / both[place] for place in range(classes)]
    for one in range(classes):
        missed = (both[one] - 2 * float(shares[one, one])) / both[one]
        total += f1[one] * missed / both[one] * (missed + f1[one] / 2)
        total += sum(
            float(shares[one, other]) * f1[one] * f1[other] / (both[one] * both[other])
            for other in range(classes)
            if other != one
        )
    return math.sqrt(2 * total / int(confusion.sum())) / classes


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_macro_f1_is_the_paper_s(seed: int) -> None:
    random = np.random.default_rng(seed)
    confusion = random.integers(0, 30, (6, 6)) + np.diag(random.integers(20, 200, 6))
    assert macro_f1(confusion).standard_error == pytest.approx(error_of_macro_f1_by_the_paper(confusion))


def test_a_class_that_is_nowhere_changes_no_error() -> None:
    without = np.delete(np.delete(RARE, 2, axis=0), 2, axis=1)
    assert trained_values(RARE) == trained_values(without)


def test_the_error_of_a_share_that_is_nought_or_all_is_not_nought() -> None:
    assert binomial_error(0.9, 100) == pytest.approx(math.sqrt(90.5 / 101 * 10.5 / 101 / 100))
    assert binomial_error(1.0, 100) == pytest.approx(math.sqrt(100.5 / 101 * 0.5 / 101 / 100))
    assert binomial_error(0.0, 100) == pytest.approx(binomial_error(1.0, 100))
    perfect = np.diag([30, 60])
    assert accuracy(perfect).standard_error == binomial_error(1.0, 90)
    apart = math.hypot(binomial_error(1.0, 30), binomial_error(1.0, 60)) / 2
    assert balanced_accuracy(perfect).standard_error == pytest.approx(apart)


# Measured to JSON and back.


@pytest.mark.parametrize(
    ("measured", "written"),
    [
        (Measured(value=0.5), "0.5"),
        (Measured(value=-3.25), "-3.25"),
        (Measured(value=0.5, standard_error=0.02, n=180), '{"value":0.5,"standard_error":0.02,"n":180}'),
        (Measured(value=0.5, standard_error=0.0), '{"value":0.5,"standard_error":0.0,"n":1}'),
        (Measured(value=0.5, n=180), '{"value":0.5,"standard_error":null,"n":180}'),
        (Measured(value=math.inf), "Infinity"),
    ],
)
def test_it_is_a_number_where_the_error_is_unknown(measured: Measured, written: str) -> None:
    assert measured.model_dump_json() == written
    assert Measured.model_validate_json(written) == measured


def test_what_is_no_number_stays_none() -> None:
    for lost in (Measured(value=math.nan), Measured(value=math.nan, standard_error=math.nan, n=20)):
        again = Measured.model_validate_json(lost.model_dump_json())
        assert math.isnan(again.value)
        assert (again.standard_error is None) is (lost.standard_error is None)
        assert again.n == lost.n


def test_numbers_are_read_wherever_metrics_are() -> None:
    by_name = TypeAdapter(dict[str, Measured]).validate_json('{"accuracy": 0.5, "params": 3, "macro_f1": {"value": 0.25}}')
    assert by_name == {
        "accuracy": Measured(value=0.5),
        "params": Measured(value=3.0),
        "macro_f1": Measured(value=0.25),
    }
    assert Measured.model_validate(2) == Measured(value=2.0)
    assert Measured.model_validate(Measured(value=0.5, n=3)) == Measured(value=0.5, n=3)


@pytest.mark.parametrize("given", [None, "much", [0.5], {"value": 0.5, "spread": 0.1}, {"standard_error": 0.1}])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        Measured.model_validate(given)


def test_an_outcome_keeps_values_with_and_without_errors() -> None:
    metrics = {"accuracy": Measured(value=0.5, standard_error=0.02, n=180), "train_loss": Measured(value=1.5)}
    outcome = Outcome(state=TrialState.COMPLETE, metrics=metrics)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome
    assert Outcome.model_validate(outcome.model_dump(mode="json")) == outcome
    assert outcome.model_dump(mode="json")["metrics"]["train_loss"] == 1.5


# Ties.


def test_only_what_ties_has_a_tolerance_and_it_is_the_error() -> None:
    measured = {
        "accuracy": Measured(value=0.5, standard_error=0.02, n=180),
        LATENCY: Measured(value=3.0, standard_error=0.1, n=60),
        "train_loss": Measured(value=1.5, standard_error=0.3),
    }
    assert tolerance(LATENCY, measured) == 0.1
    assert tolerance("accuracy", measured) == 0.0
    assert tolerance("train_loss", measured) == 0.0
    assert tolerance("gflops", measured) == 0.0
    assert tolerance(LATENCY, {}) == 0.0
    assert tolerance(LATENCY, {LATENCY: Measured(value=3.0)}) == 0.0


# The registry.


def test_metrics_are_listed_in_their_order_by_where_they_come_from() -> None:
    assert METRICS.names() == ("accuracy", "balanced_accuracy", "macro_f1", "gflops", "params", LATENCY)
    assert names_of("trained") == ("accuracy", "balanced_accuracy", "macro_f1")
    assert names_of("known") == ("gflops", "params")
    assert names_of("measured") == (LATENCY,)
    assert names_of("measured", "known") == ("gflops", "params", LATENCY)
    assert tuple(trained_values(UNEVEN)) == names_of("trained")
    cost = candidate(gflops=0.002)
    assert known_values(cost) == {"gflops": 0.002, "params": float(cost.params)}


@pytest.mark.parametrize(
    ("name", "value", "text", "bare"),
    [
        ("accuracy", 0.91234, "91.23 %", "91.23"),
        ("gflops", 0.0000123456, "0.00001235", "0.00001235"),
        ("params", 1234567.0, "1,234,567", "1,234,567"),
        (LATENCY, 3.21449, "3.214 ms", "3.214"),
        ("train_loss", 1.5, "1.5", "1.5"),
    ],
)
def test_values_are_shown_in_their_unit_and_never_in_powers_of_ten(name: str, value: float, text: str, bare: str) -> None:
    assert metric(name).text(value) == text
    assert metric(name).bare(value) == bare


def test_titles_have_the_unit_and_names_in_words_have_not() -> None:
    assert metric("accuracy").title == "validation accuracy (%)"
    assert metric("accuracy").name_in_words == "validation accuracy"
    assert metric(LATENCY).name_in_words == "latency"
    assert metric("gflops").name_in_words == "GFLOPs (1e9 multiply-adds)"
    assert metric("train_loss").title == "train loss"
    with pytest.raises(UnknownNameError, match="Did you mean 'accuracy'"):
        METRICS["acuracy"]


def test_a_metric_without_its_formula_is_none() -> None:
    with pytest.raises(AssertionError, match="known metrics have of_cost"):
        Metric("depth", "depth", "min", "known")
    with pytest.raises(AssertionError, match="trained ones have of_confusion"):
        Metric("recall", "recall", "max", "trained")


# Adding one.


def worst_recall(confusion: Confusion) -> Measured:
    """The lowest recall of a class that the labels hold, with its binomial error."""
    images = confusion.sum(axis=1)
    recalls = np.where(images > 0, np.diag(confusion) / np.maximum(images, 1), np.inf)
    worst = int(recalls.argmin())
    value = float(recalls[worst])
    return Measured(value=value, standard_error=binomial_error(value, int(images[worst])), n=int(images[worst]))


@pytest.fixture
def _registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The one entry; gone again afterwards."""
    monkeypatch.setattr(METRICS, "_items", dict(METRICS._items))
    entry = Metric(
        "worst recall (%)", "worst recall", "max", "trained", "%", 100.0, "{:.2f}", error="binomial", of_confusion=worst_recall
    )
    METRICS.register("worst_recall", entry)
    yield


def trained() -> tuple[Training, ImageData, list[dict[str, float]]]:
    """A tiny network on 400 digits for three epochs, and its metrics after each."""
    source = load_digits()
    pixels = (source.images[:400, None] * (255 / 16)).round().astype(np.uint8)
    labels = source.target[:400].astype(np.int64)
    data = ImageData(
        train=ImageSplit(pixels[:250], labels[:250]),
        validation=ImageSplit(pixels[250:], labels[250:]),
        test_count=0,
        class_names=tuple("0123456789"),
        mean=(0.3,),
        std=(0.37,),
        fingerprint="the first 400 digits",
        storage="memory",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 16, 10),
        )
    recipe = TrainingConfig(epochs=3, batch_size=32, lr=0.05, warmup_epochs=0)
    training = train(network, data, recipe, seed=0, device=torch.device("cpu"))
    return training, data, [epoch.metrics for epoch in training]


@pytest.mark.usefixtures("_registered")
def test_an_added_metric_is_trained_searched_and_shown() -> None:
    training, data, epochs = trained()
    labels = data.validation.labels
    recalls = sklearn_metrics.recall_score(labels, training.predicted, average=None)
    images = np.bincount(labels)[recalls.argmin()]
    measured = training.measured["worst_recall"]
    assert 0.0 < measured.value < training.measured["balanced_accuracy"].value
    assert measured.value == pytest.approx(recalls.min())
    assert measured.standard_error == pytest.approx(binomial_error(recalls.min(), images))
    assert epochs[-1]["worst_recall"] == measured.value
    assert all("worst_recall" in metrics for metrics in epochs)

    names = ("worst_recall", "gflops")
    space, cost = space_of(kind=["none", "se"], per="network", reduction_ratio=[2]), CostModel((8, 8))
    axes = objective_axes(
        {name: METRICS[name].direction for name in names}, space=space, cost=cost, bounds={}, validation_labels=labels
    )
    # A constant answer has no image of nine classes right.
    assert axes[0] == ObjectiveAxis(name="worst_recall", direction="max", reference=0.0, ideal=1.0)
    assert known_cost_objectives(names) == ("worst_recall", ("gflops",))

    cheap, costly = space_costs(space, cost).range("gflops")
    lower = measured.value / 2
    trials = [complete(3, cheap, training.measured), complete(4, costly, {"worst_recall": Measured(value=lower)})]
    front = front_of(trials, axes)
    assert (front.numbers, front.ranks) == ((3,), {3: 0, 4: 1})
    assert axes[1].reference is not None
    assert front.hypervolume == pytest.approx(measured.value * (1 - cheap / axes[1].reference))

    console = Console(file=io.StringIO(), width=200, color_system=None)
    print_study_table(console, manifest(objectives=axes), trials, front)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert "worst recall (%)" in lines[1]
    assert measured.standard_error is not None
    shown = f"{100 * measured.value:.2f} +/- {100 * measured.standard_error:.2f}"
    assert [shown in line for line in lines if line.split()[:1] == ["3*"]] == [True]


def complete(number: int, gflops: float, measured: dict[str, Measured]) -> Trial:
    values = {"worst_recall": measured["worst_recall"].value, "gflops": gflops}
    outcome = Outcome(state=TrialState.COMPLETE, metrics=measured, values=values, epochs=3)
    return Trial(number, candidate(gflops=gflops), Outcome.model_validate_json(outcome.model_dump_json()))


IN_THE_YAML = """\
from cbam_search.metrics import METRICS, Measured, Metric

METRICS.register(
    "worst_recall", Metric("worst recall (%)", "worst recall", "max", "trained", of_confusion=lambda _: Measured(value=0.0))
)

from cbam_search.study.config import StudyConfig
from cbam_search.study.yaml_file import parse_yaml

yaml = '''
name: made-up
dataset: {source: digits}
backbone: {family: cifar_resnet, depth: 8}
objectives: {worst_recall: %s, gflops: min}
'''
config = parse_yaml(yaml % "max", "made-up", StudyConfig)
print(config.objectives, config.search.sampler_for(config.objectives))
try:
    parse_yaml(yaml % "min", "made-up", StudyConfig)
except Exception as error:
    print(error)
"""


def test_the_yaml_takes_an_added_metric() -> None:
    """In a process of its own: the names that the YAML takes are those registered when its model is made."""
    ran = subprocess.run([sys.executable, "-c", IN_THE_YAML], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "{'worst_recall': 'max', 'gflops': 'min'} known_cost" in ran.stdout
    assert "worst_recall is to be 'max'" in ran.stdout


def test_nothing_of_it_is_left() -> None:
    assert "worst_recall" not in METRICS
    assert "worst_recall" not in trained_values(UNEVEN)
