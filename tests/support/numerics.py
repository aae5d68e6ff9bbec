"""What small trainings come to, case by case, and what was kept of it. Run as a script, it writes the kept file again.

A fingerprint says what the real training loop makes of a small network and fixed images: losses, metrics, and sums over the
weights before and after. It guards `cbam_search.training.numerics.NUMERICS_VERSION`, where it is said when to raise that.

Networks compute in double precision, and but for those that begin with trained weights they are trained from fixed numbers
instead of the first weights that were drawn, which are compared as they are. Rounding, which differs between processors and
grows with every step and layer, then stays far below any change of what is computed.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin
from zlib import crc32

import numpy as np
import torch
from pydantic import BaseModel
from pydantic_core import PydanticUndefined, to_jsonable_python
from torch import Tensor, nn

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, Architecture, AttentionSpec, Backbone, CbamSpec, SeSpec
from cbam_search.attention.registry import ATTENTION_MODULES, build_attention
from cbam_search.backbones.builder import build
from cbam_search.backbones.insertion import insert_attention
from cbam_search.backbones.pretrained import build_pretrained
from cbam_search.data.augmentation import AUGMENTATIONS
from cbam_search.data.images import ImageData, ImageSplit
from cbam_search.metrics import trained_values
from cbam_search.training.config import TrainingConfig
from cbam_search.training.determinism import deterministic
from cbam_search.training.loop import train
from cbam_search.training.numerics import NUMERICS_VERSION

KEPT = Path(__file__).parent.parent / "training" / "numerics_fingerprints.json"

# Measured with torch 2.13 on an AMD EPYC with AVX2, over all cases: the largest relative difference from one thread of AVX2 in
# channels_last.
#   contiguous instead of channels_last                                       5e-12
#   ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBILITY                           7e-12
#   ATEN_CPU_CAPABILITY=default, which draws other first weights by 2e-8      1.5e-7
#   all of them, and two threads                                              1.5e-7
# Losses are float32, whose rounding is 6e-8. In single precision and from drawn weights, networks of fifty layers came to
# losses that differed by a factor of 2 and more after four steps. The narrowest margin between two logits is 9e-4 of the larger
# one: rounding does not change what is predicted, and with it the metrics.
TOLERANCE = 1e-5
"""Relative: to the value itself; for sums, to the sum of absolute values."""
DIGITS = 8

SEED = 3
CPU = torch.device("cpu")
TRAINING_IMAGES, VALIDATION_IMAGES, CLASSES = 26, 24, 3
NOT_RESULTS = ("epoch", "seconds", "processor_seconds")
"""Of what an epoch reports."""

RECIPE = TrainingConfig(
    epochs=1,
    batch_size=8,
    optimizer="sgd",
    lr=0.05,
    momentum=0.9,
    weight_decay=0.3,
    label_smoothing=0.2,
    warmup_epochs=0.5,
    augment=(),
    mixed_precision="off",
    gradient_clip_norm=None,
)
"""Four steps. Every setting is given, so that no case depends on a default, and is large enough to show."""
GENTLE = RECIPE.model_copy(update={"lr": 0.01, "batch_size": 13})
"""Two steps. In deep networks more would make numbers too large, and rounding with them."""
SMALL = Backbone(family="cifar_resnet", depth=8, width=0.5, stem="cifar", classes=CLASSES)
FEWEST_CHANNELS = 8
"""In a block's output: with fewer, attention has little to choose from."""

Value = float | list[float]
"""A loss or a metric, or of a group of weights [the sum of absolute values, the sum of values times fixed numbers]."""
Fingerprint = dict[str, Value]


@dataclass(frozen=True)
class Case:
    """One training. fixed_start: whether it starts from fixed numbers, or else from the network as it was built."""

    network: Callable[[], nn.Module]
    recipe: TrainingConfig = RECIPE
    fixed_start: bool = True


@dataclass(frozen=True)
class Fingerprints:
    """All that is kept. torch: the version that computed it. defaults: of settings, by model and field."""

    numerics_version: int
    torch: str
    defaults: dict[str, dict[str, Any]]
    cases: dict[str, Fingerprint]

    @classmethod
    def kept(cls, file: Path) -> Fingerprints:
        return cls(**json.loads(file.read_text(encoding="utf-8")))

    def write(self, file: Path) -> None:
        """One line a case, so that a difference between two files can be read."""
        lines = {name: json.dumps(_rounded(values)) for name, values in self.cases.items()}
        cases = ",\n".join(f"    {json.dumps(name)}: {line}" for name, line in lines.items())
        head = json.dumps({**dataclasses.asdict(self), "cases": {}}, indent=2).removesuffix("{}\n}")
        file.write_text(f"{head}{{\n{cases}\n  }}\n}}\n", encoding="utf-8")


def cases() -> dict[str, Case]:
    """All trainings, by name. What is registered decides which there are."""
    return dict(chain(_kinds(), _families(), _recipes(), _starts()))


def _kinds() -> Iterator[tuple[str, Case]]:
    """Every kind at every position, and with every value of its settings."""
    positions = {
        tuple(site.name for site in SMALL.sites if name in site.positions): name for name in reversed(_positions(SMALL))
    }
    for kind in ATTENTION_KINDS:
        default = ATTENTION_KINDS[kind].model_validate({"kind": kind})
        for position in reversed(positions.values()):
            yield f"kind {kind}, at {position}", _case(_with_attention(SMALL, default, position))
        for name, spec in variants(default):
            yield f"kind {kind}, {name}", _case(_with_attention(SMALL, spec, SMALL.default_position))


def _families() -> Iterator[tuple[str, Case]]:
    for family in FAMILIES:
        found = backbones(family)
        for name, backbone in found.items():
            yield f"family {family}, {name}", _case(Architecture(backbone=backbone), GENTLE)
        smallest = next(iter(found.values()))
        yield f"family {family}, attention everywhere", _case(_with_attention(smallest, SeSpec(reduction_ratio=2)), GENTLE)


def _recipes() -> Iterator[tuple[str, Case]]:
    changes: dict[str, dict[str, Any]] = {
        **{f"optimizer {name}": {"optimizer": name} for name in choices("optimizer")},
        **{f"augment {name}": {"augment": (name,)} for name in AUGMENTATIONS},
        "augment all": {"augment": tuple(AUGMENTATIONS)[::-1]},
        "momentum 0": {"momentum": 0.0},
        "weight_decay 0": {"weight_decay": 0.0},
        "label_smoothing 0": {"label_smoothing": 0.0},
        "warmup_epochs 0": {"warmup_epochs": 0.0},
        "gradient_clip_norm 0.5": {"gradient_clip_norm": 0.5},
        "batch_size 64": {"batch_size": 64},
        "epochs 3": {"epochs": 3, "warmup_epochs": 1.5, "augment": ("flip",), "batch_size": 13},
    }
    for name, change in changes.items():
        recipe = TrainingConfig.model_validate(RECIPE.model_dump() | change)
        yield f"recipe, {name}", _case(_with_attention(SMALL, SeSpec(reduction_ratio=2), SMALL.default_position), recipe)


def _starts() -> Iterator[tuple[str, Case]]:
    """Networks that begin with trained weights, and one of the user's own."""
    for kind in ATTENTION_KINDS:
        spec = ATTENTION_KINDS[kind].model_validate({"kind": kind})
        yield f"trained weights, kind {kind}", _from_weights(_with_attention(SMALL, spec), RECIPE)
    for family in FAMILIES:
        smallest = next(iter(backbones(family).values()))
        yield f"trained weights, family {family}", _from_weights(_with_attention(smallest, SeSpec()), GENTLE)
    yield "own network", Case(_own_network)


def variants(default: AttentionSpec) -> Iterator[tuple[str, AttentionSpec]]:
    """`default` with one setting changed, once for each of some values: all of them where they can be listed."""
    for setting in default.settings():
        for value in _values(type(default).model_fields[setting].annotation):
            try:
                spec = default.model_validate(default.model_dump() | {setting: value})
            except ValueError:
                continue  # the kind does not allow this number
            if spec != default:
                words = "+".join(value) if isinstance(value, tuple) else value
                yield f"{setting} {words}", spec


def _values(annotation: Any) -> list[Any]:
    """Some that a setting of this type may have; none of a type whose values cannot be guessed."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return list(arguments)
    if origin in (Union, UnionType):
        return [value for argument in arguments for value in _values(argument)]
    if origin is tuple:
        each = _values(arguments[0])
        return [*((value,) for value in each), tuple(each)]
    guesses: dict[Any, list[Any]] = {bool: [False, True], int: [1, 3], float: [0.25], NoneType: [None]}
    return guesses.get(annotation, [])


def choices(setting: str) -> tuple[Any, ...]:
    """The values that a setting of the recipe may have."""
    return get_args(TrainingConfig.model_fields[setting].annotation)


def backbones(family: str) -> dict[str, Backbone]:
    """The smallest backbone of a family, then others as wide that are built in another way, by what is changed."""
    smallest = _smallest(family)
    kinds = _block_kinds(smallest)
    others = (depth for depth in FAMILIES[family].depths if _block_kinds(_changed(smallest, depth=depth)) != kinds)
    depth = next(others, smallest.depth)
    found = {f"depth {smallest.depth}": smallest}
    for change in ({"depth": depth}, {"depth": depth, "variant": "v1.5"}, {"stem": "imagenet"}):
        try:
            other = _changed(smallest, **change)
        except ValueError:
            continue  # the family has no such stem
        if other.canonical() not in [backbone.canonical() for backbone in found.values()]:
            found[", ".join(f"{name} {value}" for name, value in change.items())] = other
    return found


def _smallest(family: str) -> Backbone:
    """Narrow, with groups where the family has them."""
    settings = {"family": family, "depth": min(FAMILIES[family].depths), "stem": "cifar", "classes": CLASSES}
    for groups in ({"cardinality": 2, "base_width": 32}, {}):
        for width in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0):
            try:
                backbone = Backbone.model_validate({**settings, **groups, "width": width})
            except ValueError:
                continue
            if min(block.out_channels for block in backbone.geometry().blocks) >= FEWEST_CHANNELS:
                return backbone
    raise AssertionError(f"no small backbone of family {family} was found")


def _changed(backbone: Backbone, **change: object) -> Backbone:
    return Backbone.model_validate(backbone.model_dump() | change)


def _block_kinds(backbone: Backbone) -> set[str]:
    return {block.kind for block in backbone.geometry().blocks}


def _positions(backbone: Backbone) -> tuple[str, ...]:
    return tuple(FAMILIES[backbone.family].positions)


def _with_attention(backbone: Backbone, spec: AttentionSpec, position: str | None = None) -> Architecture:
    """`backbone` with `spec` at all sites of a position, or else at every site of the first and the last block and of a stem.

    In more blocks than that, all positions would multiply what goes along the shortcuts by a gate so often that little is left.
    """
    blocks = {backbone.sites[0].block, backbone.geometry().blocks[0].name, backbone.sites[-1].block}
    chosen = [site for site in backbone.sites if (position in site.positions if position else site.block in blocks)]
    return Architecture.model_validate({"backbone": backbone, "attention": {site.name: spec for site in chosen}})


def _case(architecture: Architecture, recipe: TrainingConfig = RECIPE) -> Case:
    return Case(lambda: build(architecture), recipe)


def _from_weights(architecture: Architecture, recipe: TrainingConfig) -> Case:
    def make() -> nn.Module:
        bare = build(Architecture(backbone=architecture.backbone))
        _set_fixed(bare)
        return build_pretrained(architecture, _copied(bare))

    return Case(make, recipe, fixed_start=False)


def _own_network() -> nn.Module:
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, CLASSES))
    return insert_attention(nn.Sequential(*layers), [("1", build_attention(CbamSpec(reduction_ratio=2), 8))])


@cache
def images() -> ImageData:
    """Noise over a pattern of each class, in three unlike channels; higher than wide."""
    draws = np.random.RandomState(0)  # the one generator whose numbers are the same in every version of numpy
    patterns = draws.uniform(60, 160, (CLASSES, 3, 16, 8))

    def split(count: int) -> ImageSplit:
        labels = np.arange(count, dtype=np.int64) % CLASSES
        pixels = patterns[labels] + draws.uniform(-60, 60, (count, 3, 16, 8)) + np.array([0, 15, 30])[:, None, None]
        return ImageSplit(pixels.round().astype(np.uint8), labels)

    return ImageData(
        train=split(TRAINING_IMAGES),
        validation=split(VALIDATION_IMAGES),
        test_count=0,
        class_names=("a", "b", "c"),
        mean=(0.43, 0.49, 0.55),
        # Divisions by powers of two are exact, with and without a fused multiply-add.
        std=(64 / 255, 32 / 255, 64 / 255),
        fingerprint="numerics",
        storage="memory",
    )


class InDoublePrecision(nn.Module):
    """x: (N, C, H, W) float32 to (N, classes) float64."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.double()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x.double())
        return logits


def fingerprint(case: Case) -> Fingerprint:
    """Sums over the first weights, what the last epoch reports, and sums over what training added to the weights."""
    with deterministic(SEED, CPU):
        network = case.network()
    first = _sums(network, _copied(network))
    model = InDoublePrecision(network)
    if case.fixed_start:
        _set_fixed(network)
    before = _copied(network)
    for epoch in train(model, images(), case.recipe, seed=SEED, device=CPU):
        reported: dict[str, Any] = dataclasses.asdict(epoch)
    reported |= reported.pop("metrics", {})
    added = {name: value - before[name] for name, value in _copied(network).items()}
    return {
        **{f"first {group}": sums for group, sums in first.items()},
        **{name: value for name, value in reported.items() if name not in NOT_RESULTS},
        **{f"added {group}": sums for group, sums in _sums(network, added).items()},
    }


def metrics() -> Fingerprint:
    """What the metrics say of counts that no training above comes to."""
    counts = {"uneven": [[7, 2, 0], [1, 3, 1], [4, 0, 2]], "a class without images": [[5, 1, 2], [0, 0, 0], [2, 1, 9]]}
    return {
        f"{name}, {words}": measured.value
        for words, confusion in counts.items()
        for name, measured in trained_values(np.array(confusion)).items()
    }


def defaults() -> dict[str, dict[str, Any]]:
    """The default of every setting that decides results and has one, as JSON has it."""
    models: dict[str, type[BaseModel]] = {"training": TrainingConfig, "backbone": Backbone}
    models |= {f"attention {kind}": ATTENTION_KINDS[kind] for kind in ATTENTION_KINDS}
    return {
        name: {
            field: to_jsonable_python(default)
            for field, info in model.model_fields.items()
            if (default := info.get_default(call_default_factory=True)) is not PydanticUndefined
        }
        for name, model in models.items()
    }


def computed() -> Fingerprints:
    """All of it, by the code as it is."""
    found = {"metrics": metrics()} | {name: fingerprint(case) for name, case in cases().items()}
    return Fingerprints(NUMERICS_VERSION, _torch_version(), defaults(), found)


def lacking(kept: Fingerprints) -> list[str]:
    """Cases and defaults that there are, and that are not kept."""
    return [
        *(name for name in ("metrics", *cases()) if name not in kept.cases),
        *(f"default of {name}" for name in _flat(defaults()) if name not in _flat(kept.defaults)),
    ]


def lacking_values(kept: Fingerprints, found: Fingerprints) -> list[str]:
    """Values of kept cases that are not kept, such as those of a new metric."""
    common = {name: case for name, case in found.cases.items() if name in kept.cases}
    return [f"{name}: {value}" for name, case in common.items() for value in case if value not in kept.cases[name]]


def gone(kept: Fingerprints) -> list[str]:
    """Cases and defaults that are kept, and that there are no longer."""
    return [
        *(name for name in kept.cases if name not in ("metrics", *cases())),
        *(f"default of {name}" for name in _flat(kept.defaults) if name not in _flat(defaults())),
    ]


def moved_defaults(kept: Fingerprints) -> list[str]:
    now = _flat(defaults())
    return [
        f"default of {name}: {value!r} -> {now[name]!r}"
        for name, value in _flat(kept.defaults).items()
        if name in now and now[name] != value
    ]


def moved_cases(kept: Fingerprints, found: Fingerprints) -> list[str]:
    """The cases of both that differ by more than rounding, with what differs."""
    common = [name for name in found.cases if name in kept.cases]
    words = {name: moved(kept.cases[name], found.cases[name]) for name in common}
    return [f"{name}: {'; '.join(differences)}" for name, differences in words.items() if differences]


def moved(kept: Fingerprint, found: Fingerprint) -> list[str]:
    """The kept values of one case that differ by more than rounding, or that there are no longer, in words."""
    return [
        f"{name}: {_shown(before)} -> {_shown(found[name]) if name in found else 'gone'}"
        for name, before in kept.items()
        if name not in found or not _close(before, found[name])
    ]


def _close(before: Value, now: Value) -> bool:
    pairs = list(zip(_listed(before), _listed(now), strict=True))
    return all(abs(one - other) <= TOLERANCE * abs(pairs[0][0]) for one, other in pairs)


def _listed(value: Value) -> list[float]:
    return value if isinstance(value, list) else [value]


def _shown(value: Value) -> str:
    return ", ".join(f"{entry:.6g}" for entry in _listed(value))


def _rounded(values: Fingerprint) -> Fingerprint:
    def short(value: float) -> float:
        return float(f"{value:.{DIGITS}g}")

    return {
        name: [short(entry) for entry in value] if isinstance(value, list) else short(value) for name, value in values.items()
    }


def _flat(by_model: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{model}.{field}": value for model, fields in by_model.items() for field, value in fields.items()}


def _torch_version() -> str:
    return str(torch.__version__).partition("+")[0]


def _set_fixed(network: nn.Module) -> None:
    """Weights of a size that keeps that of the maps; vectors (of norms, and biases) well away from their usual starts."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            numbers = _numbers(name, tuple(parameter.shape))
            if parameter.ndim > 1:
                parameter.copy_(numbers * (6 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(0.5 * numbers + (1.0 if name.endswith("weight") else 0.0))


@cache
def _numbers(name: str, shape: tuple[int, ...]) -> Tensor:
    """Between -1 and 1, always the same for a name and a shape."""
    return torch.from_numpy(np.random.RandomState(crc32(name.encode())).uniform(-1, 1, shape))


def _copied(network: nn.Module) -> dict[str, Tensor]:
    """Weights and statistics; not what only counts batches."""
    return {name: value.clone() for name, value in network.state_dict().items() if value.is_floating_point()}


def _sums(network: nn.Module, values: Mapping[str, Tensor]) -> dict[str, Value]:
    """For each group of weights the sum of absolute `values`, and the sum of `values` times fixed numbers."""
    kinds = tuple(entry for kind in ATTENTION_MODULES if isinstance(entry := ATTENTION_MODULES[kind], type))
    prefixes = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, kinds))
    parameters = dict(network.named_parameters())
    sums: dict[str, tuple[float, float]] = {}
    for name, value in values.items():
        whose = "attention" if name.startswith(prefixes) else "backbone"
        what = "buffers" if name not in parameters else "weights" if value.ndim > 1 else "vectors"
        size, projection = sums.get(f"{whose} {what}", (0.0, 0.0))
        exact = value.double()
        size += exact.abs().sum().item()
        projection += (exact * _numbers(name, tuple(value.shape))).sum().item()
        sums[f"{whose} {what}"] = size, projection
    return {group: list(entry) for group, entry in sums.items()}


def write_again() -> str:
    """Write the kept file, and say so. Raises SystemExit where something has moved and the version has not."""
    found = computed()
    if KEPT.exists():
        kept = Fingerprints.kept(KEPT)
        same_version = kept.numerics_version == found.numerics_version
        same_code = same_version and kept.torch == found.torch
        wrong = [*(moved_cases(kept, found) if same_code else ()), *(moved_defaults(kept) if same_version else ())]
        if wrong:
            listed = "\n  ".join(wrong)
            raise SystemExit(
                f"{KEPT.name} was not written. Under NUMERICS_VERSION {kept.numerics_version} these were something else:\n"
                f"  {listed}\n"
                f"Either take the change back, or raise NUMERICS_VERSION in cbam_search/training/numerics.py first. Where a "
                f"case itself was changed, remove its line from the file."
            )
        if same_code:
            # What has not moved stays as it is, so that the file changes only where something is new.
            merged = {name: case | kept.cases.get(name, {}) for name, case in found.cases.items()}
            found = dataclasses.replace(found, cases=merged)
    found.write(KEPT)
    return f"{KEPT}: {len(found.cases)} cases, of NUMERICS_VERSION {found.numerics_version} and torch {found.torch}\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(write_again())
