"""The text of an exported network: the modules it is made of, its configuration written out, and how to use it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from cbam_search.export import runtime
from cbam_search.export.expressions import render
from cbam_search.export.network_source import NetworkSource
from cbam_search.export.sources import merge_modules
from cbam_search.safe_text import printable

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


{definitions}def build() -> {type}:
    """The network with fresh weights: images (N, {channels}, H, W), as `preprocess` returns them, to logits (N, {classes})."""
    return {network}


def load(weights: str | Path = Path(__file__).with_name("weights.safetensors")) -> {type}:
    """The trained network, in eval mode, on the CPU."""
    network = build()
    network.load_state_dict(read_safetensors(weights))
    return network.eval()


def preprocess(images: Tensor) -> Tensor:
    """Images (N, {channels}, H, W) of uint8 and any size to the network's input: (N, {channels}, *IMAGE_SIZE), normalised.

    Raises TypeError or ValueError, which say what was expected and what was given, for anything else.
    """
    check_images(images, {channels})
    return normalise(fit(images, IMAGE_SIZE), MEAN, STD)


@torch.inference_mode()
def predict(network: {type}, images: Tensor) -> list[tuple[str, float]]:
    """The likeliest class of each image and its probability. images: as for `preprocess`."""
    likeliest = network(preprocess(images)).softmax(1).max(1)
    found = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
    return [(CLASS_NAMES[label], probability) for label, probability in found]
'''


@dataclass(frozen=True)
class ImageFormat:
    """What goes in and comes out: class names by label, mean and std a channel of pixels in [0, 1], (height, width)."""

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: tuple[int, int]


def model_text(source: NetworkSource, images: ImageFormat, description: str) -> str:
    """Source of `model.py`. description: a sentence for the reader."""
    imports, modules = merge_modules([*source.modules(), runtime.__name__])
    backbone = source.architecture.backbone
    return MODEL.format(
        description=_as_docstring(description),
        architecture=_as_docstring(source.architecture.label),
        channels=backbone.in_channels,
        classes=backbone.classes,
        imports=imports,
        class_names=render(images.class_names, used=len("CLASS_NAMES: tuple[str, ...] = ")),
        image_size=images.image_size,
        mean=render(images.mean, used=len("MEAN = ")),
        std=render(images.std, used=len("STD = ")),
        modules=modules,
        network=render(source.expression(), depth=1, used=len("return ")),
        definitions=source.definitions(),
        type=source.type_name,
    )


def _as_docstring(description: str) -> str:
    words = printable(description, limit=len(description)).replace("\\", "/").replace('"', "'")
    return textwrap.fill(words, 124)
