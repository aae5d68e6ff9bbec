"""What is measured of a candidate: every metric by name, and a measured value with its error.

| source | when it is known | examples |
| --- | --- | --- |
| known | when a candidate is proposed: it is computed | gflops, params |
| measured | before its training, on the device | latency_ms |
| trained | after each epoch, from the validation images | accuracy, balanced_accuracy, macro_f1 |

To add a trained metric, register one entry here: the YAML, the hypervolume's axes, tables, figures and JSON take it from there.
It is a share of something, from 0 to 1, and more of it is better. A known metric also needs its range over a space, see
`cbam_search.search.space_costs`; one that is measured before training needs whoever measures it, see
`cbam_search.running.latency_meter`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from cbam_search.registry import Registry

Direction = Literal["max", "min"]
Source = Literal["known", "measured", "trained"]
Confusion = npt.NDArray[np.int64]
"""(classes, classes) counts of images; rows are labels, columns are predictions."""

LATENCY = "latency_ms"
"""The one metric that is measured before training."""
TEST_ACCURACY = "test_accuracy"
"""Among the metrics of a tabulated training's outcome; no search sees it."""


class Measured(BaseModel):
    """A value with its error; in JSON a value without an error is a plain number.

    value: in the metric's unit.
    standard_error: one, in the same unit; what it is of, the metric's `error` says. 0.0 for what is exact, None where unknown.
    n: images, or repetitions, that the value is the mean or median of.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    value: float
    standard_error: float | None = None
    n: int = 1

    @model_validator(mode="before")
    @classmethod
    def _from_a_number(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, int | float) else given

    @model_serializer(mode="wrap")
    def _number_where_the_error_is_unknown(self, whole: SerializerFunctionWrapHandler) -> Any:
        return self.value if self.standard_error is None and self.n == 1 else whole(self)


class Costed(Protocol):
    """What has a known cost: a `Cost`, or a `Candidate`."""

    @property
    def gflops(self) -> float: ...

    @property
    def params(self) -> int: ...


@dataclass(frozen=True)
class Metric:
    """One entry.

    title: of an axis, with its unit.
    heading: of a column, without the unit.
    direction: whether more or less of it is better.
    source: when it is known, see the table above.
    unit: behind a value in a sentence.
    scale: from the recorded value to the shown one.
    template: format of a shown value; by default four significant digits, never in powers of ten.
    description: for the YAML's constraint on it.
    error: what `Measured.standard_error` is one of.
    ties: whether values count as equal when they differ by no more than the larger of their errors.
    of_cost: works a known metric out.
    of_confusion: works a trained metric out.
    """

    title: str
    heading: str
    direction: Direction
    source: Source
    unit: str = ""
    scale: float = 1.0
    template: str | None = None
    description: str = ""
    error: str = ""
    ties: bool = False
    of_cost: Callable[[Costed], float] | None = None
    of_confusion: Callable[[Confusion], Measured] | None = None

    def __post_init__(self) -> None:
        assert (self.of_cost is not None) == (self.source == "known"), f"{self.title}: known metrics have of_cost"
        assert (self.of_confusion is not None) == (self.source == "trained"), f"{self.title}: trained ones have of_confusion"
        assert self.source != "trained" or self.direction == "max", f"{self.title}: of a trained metric more is better"

    @property
    def name_in_words(self) -> str:
        """The title without its unit."""
        return self.title.removesuffix(f" ({self.unit})") if self.unit else self.title

    def shown(self, value: float) -> float:
        """A recorded value on the scale that readers see."""
        return value * self.scale

    def bare(self, value: float) -> str:
        """A recorded value as text, without its unit."""
        if self.template is None:
            return np.format_float_positional(self.shown(value), precision=4, fractional=False, trim="-")
        return self.template.format(self.shown(value))

    def text(self, value: float) -> str:
        """A recorded value as text, with its unit."""
        return f"{self.bare(value)} {self.unit}" if self.unit else self.bare(value)


def binomial_error(share: float, n: int) -> float:
    """Standard error of a share of n images.

    Half an image is added to those that count and to those that do not (Jeffreys' prior), so that 0 and 1 have an error too.
    """
    smoothed = (share * n + 0.5) / (n + 1)
    return math.sqrt(smoothed * (1 - smoothed) / n)


def confusion_matrix(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> Confusion:
    """(classes, classes) counts of images; labels, predicted: (N,)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: Confusion) -> Measured:
    """The share of images that are right, with its binomial error."""
    images = int(confusion.sum())
    value = float(np.diag(confusion).sum() / images)
    return Measured(value=value, standard_error=binomial_error(value, images), n=images)


def balanced_accuracy(confusion: Confusion) -> Measured:
    """The mean recall of the classes that the labels hold; others do not count (`sklearn.metrics.balanced_accuracy_score`).

    Its error is that of a mean of independent binomial recalls.
    """
    labelled = confusion.sum(axis=1)
    present = labelled > 0
    recalls = np.diag(confusion)[present] / labelled[present]
    errors = [binomial_error(float(recall), int(images)) for recall, images in zip(recalls, labelled[present], strict=True)]
    error = math.sqrt(sum(each**2 for each in errors)) / len(errors)
    return Measured(value=float(np.mean(recalls)), standard_error=error, n=int(labelled.sum()))


def macro_f1(confusion: Confusion) -> Measured:
    """The mean F1 of the classes that labels or predictions hold; 0 for one never predicted rightly
    (`sklearn.metrics.f1_score(average="macro", zero_division=0)`).

    Its error is by the delta method over multinomial counts: Takahashi et al., "Confidence interval for micro-averaged F1 and
    macro-averaged F1 scores" (2022). Where that is 0, as for predictions that are all right, it is that of an accuracy.
    """
    images = int(confusion.sum())
    right = np.diag(confusion)
    both = confusion.sum(axis=1) + confusion.sum(axis=0)
    seen = both > 0
    f1 = np.where(seen, 2 * right / np.maximum(both, 1), 0.0)
    # d(mean F1) / d(share of images in a cell), of cell (label, prediction): both classes' denominators grow with it.
    shares = np.maximum(both, 1) / images
    slope = np.where(seen, f1 / shares, 0.0)
    gradient = -(slope[:, None] + slope[None, :]) + np.diag(np.where(seen, 2 / shares, 0.0))
    gradient /= seen.sum()
    weights = confusion / images
    # The mean gradient, which the method subtracts, is 0: F1 does not change when all counts grow by the same factor.
    error = math.sqrt(float((weights * gradient**2).sum()) / images)
    value = float(f1[seen].mean())
    return Measured(value=value, standard_error=error or binomial_error(value, images), n=images)


METRICS: Registry[Metric] = Registry("metric")
"""In the order in which documentation lists them."""


def _share(name: str, words: str, heading: str, error: str, of_confusion: Callable[[Confusion], Measured]) -> None:
    """Register a share of validation images, shown in per cent."""
    title = f"{words} (%)"
    METRICS.register(
        name,
        Metric(
            title,
            heading,
            "max",
            "trained",
            "%",
            100.0,
            "{:.2f}",
            error=f"{error}, of the validation images",
            of_confusion=of_confusion,
        ),
    )


_share("accuracy", "validation accuracy", "accuracy", "binomial", accuracy)
_share("balanced_accuracy", "balanced validation accuracy", "balanced accuracy", "binomial in each class", balanced_accuracy)
_share("macro_f1", "validation macro F1", "macro F1", "by the delta method", macro_f1)
METRICS.register(
    "gflops",
    Metric(
        "GFLOPs (1e9 multiply-adds)",
        "GFLOPs",
        "min",
        "known",
        description="1e9 multiply-adds of convolutions and linear layers, one image",
        of_cost=lambda cost: cost.gflops,
    ),
)
METRICS.register(
    "params",
    Metric(
        "parameters",
        "params",
        "min",
        "known",
        template="{:,.0f}",
        description="number of parameters",
        of_cost=lambda cost: float(cost.params),
    ),
)
METRICS.register(
    LATENCY,
    Metric(
        "latency (ms)",
        "latency",
        "min",
        "measured",
        unit="ms",
        description="milliseconds of one forward pass of one batch; needs the section `latency`",
        error="half of the interquartile range of single pairs, wider than the error of their median on purpose",
        ties=True,
    ),
)


def names_of(*sources: Source) -> tuple[str, ...]:
    """Metrics of these sources, in their order."""
    return tuple(name for name in METRICS if METRICS[name].source in sources)


def metric(name: str) -> Metric:
    """The metric of this name; an unknown one, such as a loss, is shown as it is."""
    if name in METRICS:
        return METRICS[name]
    words = name.replace("_", " ")
    return Metric(words, words, "min", "measured")


def error_name(name: str) -> str:
    """What the error of a metric is called for programs: `accuracy_standard_error`, `latency_spread_ms`."""
    if metric(name).ties:
        base, _, unit = name.rpartition("_")
        return f"{base}_spread_{unit}"
    return f"{name}_standard_error"


def known_values(cost: Costed) -> dict[str, float]:
    """The metrics that need no training, by name."""
    return {name: entry.of_cost(cost) for name in METRICS if (entry := METRICS[name]).of_cost is not None}


def trained_values(confusion: Confusion) -> dict[str, Measured]:
    """The metrics that an epoch's validation gives, by name. confusion: with at least one image."""
    return {name: entry.of_confusion(confusion) for name in METRICS if (entry := METRICS[name]).of_confusion is not None}


def tolerance(name: str, measured: Mapping[str, Measured]) -> float:
    """By how much two values of this metric may differ and still count as equal, as far as one of them goes."""
    if name not in measured or not metric(name).ties:
        return 0.0
    return measured[name].standard_error or 0.0
