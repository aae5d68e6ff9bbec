"""Weights of a bare backbone that were trained elsewhere: which tensor belongs where, and the networks that start from them.

Names are torchvision's of a ResNet, which this package's networks use for all families: conv1, bn1, layer1.0.conv1,
layer2.0.downsample.0, fc. Nothing that does not fit is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from cbam_search.architecture import AnyBackbone, Architecture, Backbone
from cbam_search.backbones.builder import build
from cbam_search.backbones.compensation import start_attention_as_identity
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.backbones.weights_file import read_tensors
from cbam_search.durable import sha256_of
from cbam_search.errors import WeightsError
from cbam_search.own_code import NO_CODE, CodePermission

LISTED_AT_MOST = 10
HEAD = ("fc.weight", "fc.bias")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of one bare backbone.

    tensors: by name in its network, on CPU; without the head where the file's has other classes. sha256: of the file, in
    hexadecimal. notes: what the reader should know of how they fit.
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]


Pretrained = Mapping[AnyBackbone, PretrainedWeights]
"""By canonical backbone; empty where networks start from scratch."""


def load_pretrained(path: Path, backbone: Backbone) -> PretrainedWeights:
    """The weights in a file, checked against the bare network of `backbone`.

    Raises WeightsError for a file that cannot be read and for every key that is missing, unexpected, of another shape or not
    finite. Let pass and said in a note: a head of another number of classes, which is left out; batch norms without their
    counters; and what lies in the file beside the state dict.
    """
    found, others = read_tensors(path)
    expected = _shapes(backbone)
    other_head = _other_head(found, expected)
    # Counters last, which say least where many keys are listed.
    ordered = sorted(found, key=lambda name: (name.endswith(COUNTER), name))
    tensors = {name: found[name] for name in ordered if name not in other_head}
    missing = [name for name in expected if name not in tensors and name not in other_head]
    counters = [name for name in missing if name.endswith(f".{COUNTER}")]
    mistakes = [
        *_mistake("missing", [f"{name} {_shape(expected[name])}" for name in missing if name not in counters]),
        *_mistake("unexpected", [f"{name} {_shape(tensor.shape)}" for name, tensor in tensors.items() if name not in expected]),
        *_mistake("of another shape", _misshapen(tensors, expected)),
        *_mistake("not finite", [name for name, tensor in tensors.items() if not tensor.isfinite().all()]),
        *_channels(tensors, expected, backbone),
    ]
    if mistakes:
        raise WeightsError("\n  ".join([f"{path}: these weights do not fit {backbone.name}", *mistakes]))
    notes = _notes(backbone, others, counters, found["fc.bias"] if other_head else None)
    return PretrainedWeights(path, sha256_of(path), tensors, tuple(f"{path.name}: {note}" for note in notes))


def build_pretrained(architecture: Architecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The network of `architecture` with these weights of its bare backbone; its attention starts as the identity.

    tensors: of `PretrainedWeights`; what they lack starts as in `build`. In eval mode and in training the outputs are those of
    the bare network, up to rounding.
    """
    network = build(architecture)
    network.load_state_dict(dict(tensors), strict=False)
    start_attention_as_identity(network, architecture)
    return network


def build_start(architecture: Architecture, pretrained: Pretrained, *, code: CodePermission = NO_CODE) -> nn.Module:
    """What a training begins with: of `build_pretrained`, or of `build` where no backbone has weights.

    code: as for `build`, whose errors are raised. Raises WeightsError too, for a backbone without weights beside others that
    have some.
    """
    if not pretrained:
        return build(architecture, code=code)
    weights = pretrained.get(architecture.backbone.canonical())
    if weights is None:
        raise WeightsError(f"backbone.weights has none for {architecture.backbone.name}")
    return build_pretrained(architecture, weights.tensors)


def _shapes(backbone: Backbone) -> dict[str, torch.Size]:
    with shapes_only():
        network = build(Architecture(backbone=backbone))
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _other_head(found: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> tuple[str, ...]:
    """The names of the head where it is one of as many features and another number of classes."""
    weight, bias = (found.get(name) for name in HEAD)
    if weight is None or bias is None or bias.ndim != 1:
        return ()
    classes, features = expected["fc.weight"]
    is_other = len(bias) != classes and weight.shape == (len(bias), features)
    return HEAD if is_other else ()


def _misshapen(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> list[str]:
    return [
        f"{name} {_shape(tensor.shape)}, needed {_shape(expected[name])}"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != expected[name]
    ]


def _mistake(what: str, entries: list[str]) -> Iterator[str]:
    if entries:
        rest = len(entries) - LISTED_AT_MOST
        yield f"{what}: {'; '.join(entries[:LISTED_AT_MOST])}{f'; and {rest} more' if rest > 0 else ''}"


def _channels(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], backbone: Backbone) -> Iterator[str]:
    """What to do about a first convolution for images of other channels."""
    first = tensors.get("conv1.weight")
    if first is None or first.ndim != 4 or first.shape[1] == backbone.in_channels:
        return
    choice = f"set dataset.channels: {first.shape[1]}" if first.shape[1] in (1, 3) else "take other weights"
    yield (
        f"conv1 takes images of {first.shape[1]} channel(s), and the data have {backbone.in_channels}: {choice}, or change "
        f"conv1.weight in the file to {_shape(expected['conv1.weight'])}"
    )


def _notes(backbone: Backbone, others: tuple[str, ...], counters: list[str], other_head: Tensor | None) -> Iterator[str]:
    if others:
        yield f"only its state dict is read; beside it lie {', '.join(others[:LISTED_AT_MOST])}"
    if other_head is not None:
        yield (
            f"its last layer (fc) has {len(other_head)} classes and the data have {backbone.classes}, so that this layer "
            f"starts afresh"
        )
    if counters:
        yield f"{len(counters)} batch norms lack {COUNTER}, which starts at 0; nothing here depends on it"
    geometry = backbone.geometry()
    if backbone.variant == "v1" and any(block.kind == "bottleneck" and block.stride != 1 for block in geometry.blocks):
        yield (
            f"{backbone.name} is built as v1, whose bottlenecks carry their stride on the first 1x1 convolution. torchvision's "
            f"weights, and most others, are of v1.5 and have the same keys and shapes, so that only you can tell: for those, "
            f"set backbone.variant: v1.5"
        )


def _shape(shape: torch.Size) -> str:
    return f"({', '.join(map(str, shape))})"
