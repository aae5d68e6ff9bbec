"""A trained network as a folder that anyone with torch can use: model.py, weights.safetensors, architecture.json, README.md."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cbam_search.architecture import Architecture, OwnBackbone
from cbam_search.backbones.builder import build
from cbam_search.backbones.own import call_arguments
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.errors import ExportError
from cbam_search.export.model_text import OWN_FILE, ImageFormat, model_text
from cbam_search.export.verification import verify
from cbam_search.own_code import NO_CODE, CodePermission, import_function
from cbam_search.own_source import source_files

FILES = frozenset({"model.py", "weights.safetensors", "architecture.json", "README.md"})
"""With the user's own function, OWN_FILE too."""
MARKS_OF_AN_EXPORT = frozenset({"architecture.json", "weights.safetensors"})
"""Files that nobody else writes together: a folder of one's own with a README.md or a model.py is not replaced."""
SMALLEST_STD = 1 / 255
"""Training normalises a constant channel by this, too."""

README = """# {label}

{description}

Needs torch only. In Python, from this folder:

    import model
    network = model.load()
    print(model.predict(network, images))  # images: (N, {channels}, H, W), uint8, of any size
"""


def write_module(
    architecture: Architecture,
    weights: Mapping[str, Tensor],
    output: Path,
    *,
    class_names: tuple[str, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    image_size: tuple[int, int],
    description: str = "An image classifier.",
    metadata: Mapping[str, object] | None = None,
    code: CodePermission = NO_CODE,
) -> Path:
    """Write the network of `architecture` with its trained `weights` (a state dict) into the folder `output`; return it.

    class_names, mean, std, image_size (height, width): as of the training data. description: a sentence for the reader.
    metadata: anything that JSON can hold, kept in architecture.json. code: whether the user's own function may be run, as for
    `build`; its file goes along, and must need torch alone.

    The folder is checked in a process without this package before it appears under its name: it is there whole or not at all.
    An earlier export there is replaced, any other folder that is not empty is refused. Raises ExportError, and what `build`
    raises.
    """
    output = output.expanduser().absolute()
    _refuse_other_folders(output)
    network = _network(architecture, weights, code)
    images = ImageFormat(tuple(class_names), tuple(mean), tuple(max(value, SMALLEST_STD) for value in std), image_size)
    _check_counts(architecture, images)
    details = {
        "name": architecture.label,
        "digest": architecture.digest,
        "architecture": architecture.canonical().model_dump(mode="json"),
        "class_names": class_names,
        "mean": mean,
        "std": std,
        "image_size": image_size,
        "metadata": dict(metadata or {}),
    }
    readme = README.format(label=architecture.label, description=description, channels=architecture.backbone.in_channels)
    backbone = architecture.backbone
    with _replaced_when_complete(output) as folder:
        own_arguments = _copy_own_file(backbone, folder, code) if isinstance(backbone, OwnBackbone) else None
        _write(folder / "model.py", model_text(architecture, images, description, own_arguments))
        _write(folder / "architecture.json", json.dumps(details, indent=2) + "\n")
        _write(folder / "README.md", readme)
        contiguous = {name: value.contiguous() for name, value in network.state_dict().items()}
        (folder / "weights.safetensors").write_bytes(save(contiguous))
        try:
            verify(folder, network, (backbone.in_channels, *image_size))
        except ExportError as error:
            raise _with_own_file_hint(error, backbone) if isinstance(backbone, OwnBackbone) else error from None
    return output


def _copy_own_file(backbone: OwnBackbone, folder: Path, code: CodePermission) -> dict[str, Any]:
    """Copy the file of the user's function; returns the arguments that the function is called with."""
    here = code.require(f"The network is built by the Python function {backbone.module}.")
    file = source_files(backbone.module, here)[backbone.module.partition(":")[0]]
    (folder / OWN_FILE).write_bytes(file.read_bytes())
    return call_arguments(backbone, import_function(backbone.module, here))


def _with_own_file_hint(error: ExportError, backbone: OwnBackbone) -> ExportError:
    return ExportError(
        f"{error}. The file of {backbone.module} goes along alone: it may import torch and the standard library, and no other "
        f"file. The study keeps the weights and the architecture"
    )


def _network(architecture: Architecture, weights: Mapping[str, Tensor], code: CodePermission) -> nn.Module:
    # The user's own function may read values of its weights, which the meta device has not got.
    with nullcontext() if isinstance(architecture.backbone, OwnBackbone) else shapes_only():
        network = build(architecture, code=code)
    try:
        network.load_state_dict({name: _as_read_from_a_file(value) for name, value in weights.items()}, assign=True)
    except RuntimeError as error:
        raise ExportError(f"the weights are not those of {architecture.label}: {error}") from None
    return network.float().eval()


def _as_read_from_a_file(value: Tensor) -> Tensor:
    """On CPU, with the strides that its shape gives.

    A 1x1 convolution's weight out of a channels_last network counts as contiguous, so that `contiguous` would leave its strides
    as they are; torch then computes in channels_last and adds up in another order than with the weight read from the file.
    """
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _check_counts(architecture: Architecture, images: ImageFormat) -> None:
    backbone = architecture.backbone
    if len(images.class_names) != backbone.classes:
        raise ExportError(f"{len(images.class_names)} class names for a network of {backbone.classes} classes")
    if not len(images.mean) == len(images.std) == backbone.in_channels:
        raise ExportError(f"mean and std need {backbone.in_channels} entries, one a channel")


def _write(path: Path, text: str) -> None:
    """As UTF-8; class names taken from folders may hold what is not, which Python and JSON read back from an escape."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _refuse_other_folders(output: Path) -> None:
    if not output.exists():
        return
    if not output.is_dir():
        raise ExportError(f"{output} is a file. Give the name of a folder")
    found = {path.name for path in output.iterdir()}
    others = sorted(found - {*FILES, OWN_FILE, "__pycache__"}) or ([] if found >= MARKS_OF_AN_EXPORT else sorted(found))
    if others:
        raise ExportError(f"{output} is not an earlier export: it holds {', '.join(others[:5])}. Give another folder")


@contextmanager
def _replaced_when_complete(output: Path) -> Iterator[Path]:
    """A new folder beside `output`, which takes its place when the block ends well and is gone when it does not."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        unique = uuid.uuid4().hex[:8]
        folder, replaced = (output.with_name(f".{output.name}.{unique}.{suffix}") for suffix in ("new", "old"))
        folder.mkdir()
        try:
            yield folder
            if output.exists():
                output.rename(replaced)
            folder.rename(output)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if replaced.exists() and not output.exists():
                replaced.rename(output)
            shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise ExportError(f"cannot write {output}: {error.strerror or error}") from error
