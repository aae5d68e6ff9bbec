"""A trained network as a folder that anyone with torch can use: model.py, weights.safetensors, architecture.json, README.md."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import save
from torch import Tensor, nn

from cbam_search.architecture import Architecture
from cbam_search.errors import ExportError
from cbam_search.export.model_text import ImageFormat, model_text
from cbam_search.export.network_source import OWN_FILE, NetworkSource, network_source
from cbam_search.export.verification import verify
from cbam_search.own_code import NO_CODE, CodePermission
from cbam_search.safe_text import markdown, printable, reason

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

`images` is a torch tensor with values from 0 to 255; a single image is a batch of one, `image.unsqueeze(0)`. `predict` resizes
and normalises it, and refuses anything else in a sentence. `network(x)` takes what `model.preprocess(images)` returns.
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
    output = _checked(output)
    source = network_source(architecture, code)
    network = source.trained(weights)
    images = ImageFormat(tuple(class_names), tuple(mean), tuple(max(value, SMALLEST_STD) for value in std), image_size)
    _check_counts(architecture, images)
    trained_on = {"class_names": class_names, "mean": mean, "std": std, "image_size": image_size}
    channels = architecture.backbone.in_channels
    texts = {
        "model.py": model_text(source, images, description),
        "architecture.json": _as_json(architecture, **trained_on, metadata=dict(metadata or {})),
        "README.md": README.format(
            label=markdown(architecture.label), description=markdown(description, limit=2000), channels=channels
        ),
    }
    with _replaced_when_complete(output) as folder:
        _write_files(folder, source, network, texts)
        try:
            verify(folder, network, (channels, *image_size))
        except ExportError as error:
            raise source.explained(error) from None
    return output


def _as_json(architecture: Architecture, **given: object) -> str:
    """The network, and what is given of it, by name."""
    named = {"name": architecture.label, "digest": architecture.digest}
    return json.dumps({**named, "architecture": architecture.canonical().model_dump(mode="json"), **given}, indent=2) + "\n"


def _write_files(folder: Path, source: NetworkSource, network: nn.Module, texts: Mapping[str, str]) -> None:
    for name, content in source.files().items():
        (folder / name).write_bytes(content)
    for name, text in texts.items():
        _write(folder / name, text)
    contiguous = {name: value.contiguous() for name, value in network.state_dict().items()}
    (folder / "weights.safetensors").write_bytes(save(contiguous))


def _check_counts(architecture: Architecture, images: ImageFormat) -> None:
    backbone = architecture.backbone
    if len(images.class_names) != backbone.classes:
        raise ExportError(f"{len(images.class_names)} class names for a network of {backbone.classes} classes")
    if not len(images.mean) == len(images.std) == backbone.in_channels:
        raise ExportError(f"mean and std need {backbone.in_channels} entries, one a channel")


def _write(path: Path, text: str) -> None:
    """As UTF-8; class names taken from folders may hold what is not, which Python and JSON read back from an escape."""
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _checked(output: Path) -> Path:
    """Its absolute path; raises ExportError where no export can be put there."""
    try:
        output = output.expanduser().absolute()
        _refuse_other_folders(output)
    except (OSError, RuntimeError, ValueError) as error:  # a home that is unknown, or a name that no file can have
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"no module can be written to {printable(output)}: {reason(error)}") from None
    return output


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
        raise ExportError(f"cannot write {output}: {reason(error)}") from error
