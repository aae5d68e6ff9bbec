"""A user's own network: the function that builds it, called, and attention put where it is placed.

`code_folder` asks whether code may run; nothing else here does.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cbam_search.architecture import AttentionSpec, OwnBackbone, Site
from cbam_search.attention.registry import build_attention
from cbam_search.backbones.insertion import WithAttention, insert_attention
from cbam_search.errors import OwnCodeError
from cbam_search.own_code import CodePermission, import_function, in_words
from cbam_search.own_source import importing_from, source_digest

_NAMES_SHOWN = 12


def code_folder(backbone: OwnBackbone, code: CodePermission) -> Path:
    """Where the function is imported from, after the Python path. Raises CodeNotAllowedError."""
    return code.require(f"The network is built by the Python function {backbone.module}.")


def build_own(backbone: OwnBackbone, placed: Sequence[tuple[Site, AttentionSpec]], folder: Path) -> nn.Module:
    """The network with attention where it is placed, freshly initialised. Raises OwnCodeError, also for another source."""
    network = bare_network(backbone, folder)
    return insert_attention(network, [(site.name, build_attention(spec, site.channels)) for site, spec in placed])


def bare_network(backbone: OwnBackbone, folder: Path) -> nn.Module:
    """What the function returns, called with the arguments and, where it takes them, `in_channels` and `classes`.

    Raises OwnCodeError, also when the source is not that of `backbone`; then nothing is run.
    """
    if source_digest(backbone.module, folder) != backbone.source:
        raise OwnCodeError(
            f"the source of {backbone.module} in {folder} is not that which the architecture was made with: put it back, or "
            f"launch a new study"
        )
    function = import_function(backbone.module, folder)
    arguments = call_arguments(backbone, function)
    try:
        with importing_from(folder):
            network = function(**arguments)
    except (Exception, SystemExit) as error:
        raise OwnCodeError(f"{_call(backbone, arguments)} failed: {in_words(error)}") from error
    if not isinstance(network, nn.Module):
        raise OwnCodeError(f"{_call(backbone, arguments)} returned {description_of(network)}; it must return a torch.nn.Module")
    if any(isinstance(module, WithAttention) for module in network.modules()):
        raise OwnCodeError(
            f"{backbone.module} returned a network that it has returned before; it must build a new one each time"
        )
    return network


def call_arguments(backbone: OwnBackbone, function: Callable[..., Any]) -> dict[str, Any]:
    """Keyword arguments for `function`. Raises OwnCodeError for one that it does not take, or one that is missing."""
    given: dict[str, Any] = dict(backbone.arguments)
    from_data = {"in_channels": backbone.in_channels, "classes": backbone.classes}
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return given
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [parameter.name for parameter in parameters if parameter.kind in by_name]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    for name in given:
        if name not in names and not takes_any:
            raise OwnCodeError(f"{backbone.module} takes no argument '{name}'.{valid_names_hint(name, names, 'It takes')}")
    given |= {name: value for name, value in from_data.items() if takes_any or name in names}
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty and parameter.kind in by_name]
    if missing := [name for name in needed if name not in given]:
        raise OwnCodeError(
            f"{backbone.module} needs the argument '{missing[0]}': give it under backbone.arguments, or a default in the "
            f"function"
        )
    return given


def description_of(value: Any) -> str:
    """What a value is, for a message: its type, and its shape or length."""
    if isinstance(value, Tensor) and not nn.parameter.is_lazy(value):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"of type {type(value).__name__}"


def valid_names_hint(name: str, valid: Sequence[str], has: str) -> str:
    """For a message about a name that does not exist: the nearest valid name, and all valid names."""
    close = difflib.get_close_matches(name, valid, n=1)
    shown = ", ".join(valid[:_NAMES_SHOWN]) + (", ..." if len(valid) > _NAMES_SHOWN else "")
    return (f" Did you mean '{close[0]}'?" if close else "") + f" {has}: {shown or 'none'}"


def _call(backbone: OwnBackbone, arguments: Mapping[str, Any]) -> str:
    return f"{backbone.module}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
