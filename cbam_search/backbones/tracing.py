"""What one forward pass shows of a user's own network: which submodules attention can follow, and their channels.

Nothing here asks whether code may run: whoever calls `trace` does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cbam_search.architecture import OwnBackbone, OwnSite, SeSpec, Site
from cbam_search.architecture.own_backbone import ArgumentValue
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.insertion import insert_attention
from cbam_search.backbones.own import bare_network, description_of, valid_names_hint
from cbam_search.errors import OwnCodeError
from cbam_search.own_code import in_words
from cbam_search.own_source import source_digest

Shape = tuple[int, int, int, int]
"""(N, C, H, W)."""
_TRACED_IMAGES = 2
_ANOTHER = "Name another submodule in backbone.sites"


def trace(
    module: str,
    sites: Sequence[str],
    arguments: Mapping[str, ArgumentValue],
    *,
    in_channels: int,
    classes: int,
    image_size: tuple[int, int],
    folder: Path,
) -> OwnBackbone:
    """The backbone that the function `module` builds, with the channels of `sites`, submodules by name.

    It is run on two images of image_size (height, width): bare, and with attention at every site, in eval and in training mode.
    folder: where modules are looked for after the Python path. Raises OwnCodeError, which says what is wrong and what to do.
    """
    unchecked = OwnBackbone(
        module=module,
        arguments=tuple(sorted(arguments.items())),
        source=source_digest(module, folder),
        attention_after=tuple(OwnSite(name=name, channels=1) for name in sites),
        in_channels=in_channels,
        classes=classes,
    )
    network = bare_network(unchecked, folder)
    _check_names(network, sites, unchecked.name)
    _check_weights(network, unchecked.name)
    shapes = output_shapes(network, unchecked, (_TRACED_IMAGES, in_channels, *image_size))
    found = tuple(OwnSite(name=name, channels=shape[1]) for name, shape in shapes.items())
    backbone = unchecked.model_copy(update={"attention_after": found})
    _check_insertion(backbone, network, image_size, folder)
    return backbone


def output_shapes(network: nn.Module, backbone: OwnBackbone, input_shape: Shape) -> dict[str, Shape]:
    """Shapes of the outputs at the sites of the bare network, in the order of a forward pass, in eval mode.

    Raises OwnCodeError where a site is not called exactly once, or its output is not (N, C, H, W).
    """
    outputs, places = _run_and_watch(network.eval(), backbone, input_shape)
    _check_calls(backbone, Counter(name for name, _ in outputs))
    for name, shape in outputs:
        if not isinstance(shape, tuple) or len(shape) != 4 or shape[0] != input_shape[0]:
            found = f"of shape {shape}" if isinstance(shape, tuple) else shape
            raise OwnCodeError(
                f"the output of '{name}' in {backbone.name} is {found}; attention needs (N, C, H, W), here N = "
                f"{input_shape[0]}. {_ANOTHER}"
            )
    for names in places:
        if len(names) > 1:
            raise OwnCodeError(
                f"'{names[0]}' and '{names[1]}' in {backbone.name} are one place: the output of one is that of the other. Name "
                f"one of them in backbone.sites"
            )
    return dict(outputs)


def _run_and_watch(
    network: nn.Module, backbone: OwnBackbone, input_shape: Shape
) -> tuple[list[tuple[str, Any]], list[list[str]]]:
    """What the sites put out in one forward pass: their names in the order of the calls, each with the shape of its output or a
    description; and the names that share one output, for every output.
    """
    outputs: list[tuple[str, Any]] = []
    places: dict[tuple[int, int], list[str]] = {}
    kept: list[Tensor] = []

    def note(name: str, output: Any) -> None:
        outputs.append((name, _shape_or_description(output)))
        if isinstance(output, Tensor):
            # Kept alive, or another tensor could get its identity; an operation in place makes it another version.
            kept.append(output)
            places.setdefault((id(output), output._version), []).append(name)

    hooks = [
        network.get_submodule(site.name).register_forward_hook(
            lambda _module, _inputs, output, name=site.name: note(name, output)
        )
        for site in backbone.sites
    ]
    try:
        _run(network, backbone, input_shape)
    except _RunError as error:
        raise OwnCodeError(
            f"{error}. The function is told the number of channels, here {input_shape[1]}, where it takes `in_channels`"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, list(places.values())


def _check_calls(backbone: OwnBackbone, calls: Counter[str]) -> None:
    for site in backbone.sites:
        if calls[site.name] != 1:
            often = "not at all" if not calls[site.name] else f"{calls[site.name]} times"
            raise OwnCodeError(
                f"{backbone.name} calls its submodule '{site.name}' {often} in a forward pass; attention can follow what is "
                f"called exactly once. {_ANOTHER}"
            )


def _check_names(network: nn.Module, sites: Sequence[str], label: str) -> None:
    names: dict[int, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        names.setdefault(id(module), []).append(name)
    known = [name for found in names.values() for name in found if name]
    for site in sites:
        if site not in known:
            raise OwnCodeError(f"{label} has no submodule '{site}'.{valid_names_hint(site, known, 'It has')}")
        shared = names[id(network.get_submodule(site))]
        if len(shared) > 1:
            raise OwnCodeError(
                f"'{site}' in {label} is one module under {len(shared)} names ({', '.join(shared)}); attention can follow only "
                f"what has one name. {_ANOTHER}"
            )


def _check_weights(network: nn.Module, label: str) -> None:
    """Weights are kept as safetensors, which hold every tensor once and with a shape."""
    owners: dict[int, str] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor):
            raise OwnCodeError(f"'{name}' in {label} is {description_of(tensor)}: lazy modules and extra state cannot be kept")
        if tensor.numel() and tensor.untyped_storage().data_ptr() in owners:
            first = owners[tensor.untyped_storage().data_ptr()]
            raise OwnCodeError(f"'{first}' and '{name}' in {label} share their memory: weights are kept by name, each once")
        if tensor.numel():
            owners[tensor.untyped_storage().data_ptr()] = name


def _check_insertion(backbone: OwnBackbone, bare: nn.Module, image_size: tuple[int, int], folder: Path) -> None:
    """Attention everywhere, in eval and in training mode: what a trial may meet is met here first."""
    shape = (_TRACED_IMAGES, backbone.in_channels, *image_size)
    try:
        network, calls = _with_gates(backbone, backbone.sites, folder)
        if network is bare:
            raise OwnCodeError(f"{backbone.module} returned the same network twice; it must build a new one each time")
        _run(network.eval(), backbone, shape)
    except _RunError as error:
        raise OwnCodeError(
            f"with attention after '{_failing_site(backbone, shape, folder)}', {error}. That submodule is then a module around "
            f"the one named: the network may call it, but read nothing else of it. {_ANOTHER}"
        ) from error
    for site in backbone.sites:
        if calls[site.name] != 1:
            raise OwnCodeError(
                f"attention after '{site.name}' is passed by: {backbone.name} calls that submodule by another way than the "
                f"attribute of that name. {_ANOTHER}"
            )
    _run(network.train(), backbone, shape)


def _with_gates(backbone: OwnBackbone, sites: Sequence[Site], folder: Path) -> tuple[nn.Module, Counter[str]]:
    """A network with attention at these sites, and a counter of how often each is called from now on."""
    calls: Counter[str] = Counter()
    gates = [(site.name, build_attention(SeSpec(), site.channels)) for site in sites]
    for name, gate in gates:
        gate.register_forward_hook(lambda _module, _inputs, _output, name=name: calls.update([name]))
    network = bare_network(backbone, folder)
    try:
        return insert_attention(network, gates), calls
    except Exception as error:
        raise OwnCodeError(f"no attention can be put into {backbone.name}: {in_words(error)}") from error


def _failing_site(backbone: OwnBackbone, shape: Shape, folder: Path) -> str:
    """The first site that stops the network from running when it alone has attention, else all of them."""
    for site in backbone.sites:
        try:
            _run(_with_gates(backbone, [site], folder)[0].eval(), backbone, shape)
        except _RunError:
            return site.name
    return "', '".join(site.name for site in backbone.sites)


class _RunError(OwnCodeError):
    """The network could not be run."""


def _run(network: nn.Module, backbone: OwnBackbone, shape: Shape) -> None:
    """One forward pass, in training mode a backward pass too. Raises _RunError, or OwnCodeError for what are no logits."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    mode = "in training mode " if network.training else ""
    try:
        with torch.set_grad_enabled(network.training):
            logits = network(images)
        if network.training and isinstance(logits, Tensor):
            logits.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise _RunError(f"{backbone.name} does not run {mode}on images of shape {shape}: {in_words(error)}") from error
    expected = (shape[0], backbone.classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        raise OwnCodeError(
            f"{backbone.name} returns {mode}{description_of(logits)} for images of shape {shape}; it must return logits "
            f"(N, classes), here {expected}. The function is told their number where it takes `classes`"
        )


def _shape_or_description(output: Any) -> tuple[int, ...] | str:
    return tuple(output.shape) if isinstance(output, Tensor) and output.is_floating_point() else description_of(output)
