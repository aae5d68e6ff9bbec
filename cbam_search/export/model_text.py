"""The text of an exported network: the modules it is made of, its configuration written out, and how to use it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cbam_search.architecture import AnyBackbone, Architecture, AttentionSpec, Backbone, BlockGeometry, Geometry, OwnBackbone
from cbam_search.attention.registry import ATTENTION_MODULES
from cbam_search.backbones import insertion
from cbam_search.backbones.builder import (
    BLOCKS,
    AttentionByPlace,
    attention_by_block,
    block_channels,
    block_settings,
    stem_settings,
)
from cbam_search.backbones.insertion import insert_attention
from cbam_search.backbones.network import Network
from cbam_search.export import own_function, runtime
from cbam_search.export.expressions import Call, render
from cbam_search.export.sources import merge_modules

MODEL = '''"""{description}

{architecture}, written by cbam-search. Needs torch only:

    import model
    network = model.load()
    model.predict(network, images)  # images: (N, {channels}, H, W), uint8
"""

from __future__ import annotations

{imports}

CLASS_NAMES: tuple[str, ...] = {class_names}
IMAGE_SIZE = {image_size}
"""(height, width) in pixels of the images that the network was trained on."""
MEAN = {mean}
STD = {std}
"""Of each channel, for pixels scaled to [0, 1]."""


{modules}


{own}def build() -> {type}:
    """The network with fresh weights: images (N, {channels}, H, W), as `preprocess` returns them, to logits (N, {classes})."""
    return {network}


def load(weights: str | Path = Path(__file__).with_name("weights.safetensors")) -> {type}:
    """The trained network, in eval mode, on the CPU."""
    network = build()
    network.load_state_dict(read_safetensors(weights))
    return network.eval()


def preprocess(images: Tensor) -> Tensor:
    """Images (N, {channels}, H, W) of uint8 and any size to the network's input: (N, {channels}, *IMAGE_SIZE), normalised."""
    return normalise(fit(images, IMAGE_SIZE), MEAN, STD)


@torch.inference_mode()
def predict(network: {type}, images: Tensor) -> list[tuple[str, float]]:
    """The likeliest class of each image and its probability. images: (N, {channels}, H, W), uint8."""
    likeliest = network(preprocess(images)).softmax(1).max(1)
    found = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return [(CLASS_NAMES[label], probability) for label, probability in found]
'''


OWN_FILE = "own_backbone.py"
OWN = '''own_network = own_function(Path(__file__).with_name("{file}"), "{function}")
"""{module}, which builds the network without attention."""


'''


@dataclass(frozen=True)
class ImageFormat:
    """What goes in and comes out: class names by label, mean and std a channel of pixels in [0, 1], (height, width)."""

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: tuple[int, int]


def model_text(
    architecture: Architecture, images: ImageFormat, description: str, own_arguments: Mapping[str, Any] | None = None
) -> str:
    """Source of `model.py`. own_arguments: those that the user's own function is called with, where it builds the backbone."""
    imports, modules = merge_modules(_module_names(architecture))
    backbone = architecture.backbone
    return MODEL.format(
        description=_as_docstring(description),
        architecture=architecture.label,
        channels=backbone.in_channels,
        classes=backbone.classes,
        imports=imports,
        class_names=render(images.class_names, used=len("CLASS_NAMES: tuple[str, ...] = ")),
        image_size=images.image_size,
        mean=render(images.mean, used=len("MEAN = ")),
        std=render(images.std, used=len("STD = ")),
        modules=modules,
        network=render(_network(architecture, own_arguments or {}), depth=1, used=len("return ")),
        own=_own(backbone),
        type="nn.Module" if isinstance(backbone, OwnBackbone) else Network.__name__,
    )


def _own(backbone: AnyBackbone) -> str:
    if not isinstance(backbone, OwnBackbone):
        return ""
    return OWN.format(file=OWN_FILE, function=backbone.module.partition(":")[2], module=backbone.module)


def _module_names(architecture: Architecture) -> list[str]:
    specs = {spec.kind: ATTENTION_MODULES[spec.kind] for _, spec in architecture.attention}
    attention = [module.__module__ for _, module in sorted(specs.items())]
    if isinstance(architecture.backbone, OwnBackbone):
        return [*attention, insertion.__name__, own_function.__name__, runtime.__name__]
    blocks = {BLOCKS[block.kind].__module__ for block in _geometry(architecture).blocks}
    return [*attention, *sorted(blocks), Network.__module__, runtime.__name__]


def _network(architecture: Architecture, own_arguments: Mapping[str, Any]) -> Call:
    if isinstance(architecture.backbone, OwnBackbone):
        attention_after = tuple((site.name, _attention(spec, site.channels)) for site, spec in architecture.placed)
        return Call(insert_attention.__name__, (Call("own_network", keywords=dict(own_arguments)), attention_after))
    geometry = _geometry(architecture)
    attention = attention_by_block(architecture)
    stages = groupby(geometry.blocks, key=lambda block: block.stage)
    blocks = tuple(tuple(_block(block, attention.get(block.name, {})) for block in blocks) for _, blocks in stages)
    keywords = stem_settings(geometry) | {"stages": blocks}
    if "stem" in attention:
        keywords["stem_attention"] = _attention(*attention["stem"]["stem"])
    return Call(Network.__name__, keywords=keywords)


def _block(block: BlockGeometry, attention: AttentionByPlace) -> Call:
    keywords: dict[str, Any] = block_settings(block)
    keywords |= {place: _attention(spec, channels) for place, (spec, channels) in attention.items()}
    return Call(BLOCKS[block.kind].__name__, block_channels(block), keywords)


def _attention(spec: AttentionSpec, channels: int) -> Call:
    settings = {name: getattr(spec, name) for name in type(spec).settings()}
    return Call(ATTENTION_MODULES[spec.kind].__name__, (channels,), settings)


def _geometry(architecture: Architecture) -> Geometry:
    assert isinstance(architecture.backbone, Backbone)
    return architecture.backbone.geometry()


def _as_docstring(description: str) -> str:
    words = description.replace("\\", "/").replace('"', "'")
    return textwrap.fill(words, 124)
