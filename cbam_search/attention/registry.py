"""From what an architecture says of attention to the module that computes it."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import nn

from cbam_search.architecture import AttentionSpec
from cbam_search.attention.bam import BAM
from cbam_search.attention.cbam import CBAM
from cbam_search.attention.coordinate import CoordinateAttention
from cbam_search.attention.eca import ECA
from cbam_search.attention.global_context import GlobalContext
from cbam_search.attention.se import SE
from cbam_search.errors import ArchitectureError
from cbam_search.registry import Registry

ATTENTION_MODULES: Registry[Callable[..., nn.Module]] = Registry("attention module")
"""One module a kind. It is called with the channels of the site and the spec's settings by name."""

ATTENTION_MODULES.register("se", SE)
ATTENTION_MODULES.register("cbam", CBAM)
ATTENTION_MODULES.register("eca", ECA)
ATTENTION_MODULES.register("bam", BAM)
ATTENTION_MODULES.register("gc", GlobalContext)
ATTENTION_MODULES.register("coordinate", CoordinateAttention)


def outside_source() -> str | None:
    """SHA-256 over the source of the kinds that others have registered; None where all are this package's own."""
    digest = hashlib.sha256()
    files = {
        file: None
        for name in ATTENTION_MODULES
        if not (module := ATTENTION_MODULES[name]).__module__.startswith("cbam_search.") and (file := _source_file(module))
    }
    for file in sorted(files):
        digest.update(file.read_bytes() + b"\n")
    return digest.hexdigest() if files else None


def _source_file(module: object) -> Path | None:
    try:
        found = inspect.getsourcefile(module)  # type: ignore[arg-type]
    except TypeError:
        return None
    return Path(found) if found is not None and Path(found).is_file() else None


def build_attention(spec: AttentionSpec, channels: int) -> nn.Module:
    """The module of `spec` for feature maps of `channels` channels; raises UnknownNameError for a kind without one."""
    settings = {name: getattr(spec, name) for name in type(spec).settings()}
    return ATTENTION_MODULES[spec.kind](channels, **settings)


@runtime_checkable
class StartsAsIdentity(Protocol):
    """What the module of every kind can do beside its forward pass, so that it can be put into trained weights."""

    def start_as_identity(self) -> float:
        """Set the weights so that, in training and evaluation, the module multiplies every input by one positive constant.

        Returns the constant. Every parameter must get a gradient as soon as those set to zero have moved.
        """


def start_as_identity(module: nn.Module) -> float:
    """What the method of that name does; raises ArchitectureError for a module without it."""
    if not isinstance(module, StartsAsIdentity):
        raise ArchitectureError(
            f"attention module {type(module).__name__} has no method start_as_identity, so that it cannot be put into "
            f"trained weights: see StartsAsIdentity in cbam_search/attention/registry.py"
        )
    return module.start_as_identity()


SEPARATE_GATES = {"cbam": ("channel_gate", "spatial_gate")}
"""Kinds whose gates each take a map and multiply it: what they cost adds up, in whatever order they come."""


def build_attention_parts(spec: AttentionSpec, channels: int) -> tuple[nn.Module, ...]:
    """Modules (N, C, H, W) to the same shape whose costs and parameters add up to those of `spec`'s module."""
    module = build_attention(spec, channels)
    gates = (getattr(module, name) for name in SEPARATE_GATES.get(spec.kind, ()))
    return tuple(gate for gate in gates if gate is not None) or (module,)
