"""A network to export: what every format needs of it, and what its Python text is written from, for each kind of backbone.

The formats ask here and never what kind a backbone is: a family's network is written out whole, block by block; of the user's
own the file goes along, and attention is inserted into what its function returns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from cbam_search.architecture import Architecture, AttentionSpec, BlockGeometry, Geometry, OwnBackbone
from cbam_search.attention.registry import ATTENTION_MODULES
from cbam_search.backbones import insertion
from cbam_search.backbones.builder import (
    BLOCKS,
    AttentionByPlace,
    attention_by_block,
    block_channels,
    block_settings,
    build,
    stem_settings,
)
from cbam_search.backbones.insertion import insert_attention
from cbam_search.backbones.network import Network
from cbam_search.backbones.own import call_arguments, code_folder
from cbam_search.backbones.shapes_only import shapes_only
from cbam_search.errors import ExportError
from cbam_search.export import own_function
from cbam_search.export.expressions import Call
from cbam_search.own_code import NO_CODE, CodePermission, import_function
from cbam_search.own_source import source_files

OWN_FILE = "own_backbone.py"
"""The file of the user's own function, beside the exported text."""
OWN = '''own_network = own_function(Path(__file__).with_name("{file}"), "{function}")
"""{module}, which builds the network without attention."""


'''


@dataclass(frozen=True)
class NetworkSource(ABC):
    """One network. `trained` serves every format; what comes after it serves those that write Python text."""

    architecture: Architecture

    def trained(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The network with these weights (a state dict), float32, in eval mode, on the CPU.

        Raises ExportError for weights of another network, and what `build` raises.
        """
        network = self._built()
        try:
            network.load_state_dict({name: _as_read_from_a_file(value) for name, value in weights.items()}, assign=True)
        except RuntimeError as error:
            raise ExportError(f"the weights are not those of {self.architecture.label}: {error}") from None
        return network.float().eval()

    @property
    @abstractmethod
    def type_name(self) -> str:
        """The type of the network in the text."""

    @abstractmethod
    def modules(self) -> list[str]:
        """Names of this package's modules that the text needs; those that they import are not named."""

    @abstractmethod
    def expression(self) -> Call:
        """What builds the network with fresh weights."""

    def definitions(self) -> str:
        """Text before the function that builds the network."""
        return ""

    def files(self) -> dict[str, bytes]:
        """What goes along with the text, by name."""
        return {}

    def explained(self, error: ExportError) -> ExportError:
        """An error of text that does not run by itself, with what the reader can do about it."""
        return error

    @abstractmethod
    def _built(self) -> nn.Module:
        """With any weights: they are replaced."""

    def _attention_modules(self) -> list[str]:
        kinds = sorted({spec.kind for _, spec in self.architecture.attention})
        return [ATTENTION_MODULES[kind].__module__ for kind in kinds]


@dataclass(frozen=True)
class FamilyNetwork(NetworkSource):
    """A network of a family of this package."""

    geometry: Geometry

    @property
    def type_name(self) -> str:
        return Network.__name__

    def modules(self) -> list[str]:
        blocks = {BLOCKS[block.kind].__module__ for block in self.geometry.blocks}
        return [*self._attention_modules(), *sorted(blocks), Network.__module__]

    def expression(self) -> Call:
        attention = attention_by_block(self.architecture)
        stages = groupby(self.geometry.blocks, key=lambda block: block.stage)
        blocks = tuple(tuple(_block(block, attention.get(block.name, {})) for block in blocks) for _, blocks in stages)
        keywords = stem_settings(self.geometry) | {"stages": blocks}
        if "stem" in attention:
            keywords["stem_attention"] = _attention(*attention["stem"]["stem"])
        return Call(Network.__name__, keywords=keywords)

    def _built(self) -> nn.Module:
        with shapes_only():
            return build(self.architecture)


@dataclass(frozen=True)
class OwnNetwork(NetworkSource):
    """A network that the user's own function builds. code: whether it may run."""

    backbone: OwnBackbone
    code: CodePermission

    @property
    def type_name(self) -> str:
        return "nn.Module"

    def modules(self) -> list[str]:
        return [*self._attention_modules(), insertion.__name__, own_function.__name__]

    def expression(self) -> Call:
        function = import_function(self.backbone.module, code_folder(self.backbone, self.code))
        bare = Call("own_network", keywords=call_arguments(self.backbone, function))
        attention_after = tuple((site.name, _attention(spec, site.channels)) for site, spec in self.architecture.placed)
        return Call(insert_attention.__name__, (bare, attention_after))

    def definitions(self) -> str:
        function = self.backbone.module.partition(":")[2]
        return OWN.format(file=OWN_FILE, function=function, module=self.backbone.module)

    def files(self) -> dict[str, bytes]:
        module = self.backbone.module
        found = source_files(module, code_folder(self.backbone, self.code))
        return {OWN_FILE: found[module.partition(":")[0]].read_bytes()}

    def explained(self, error: ExportError) -> ExportError:
        return ExportError(
            f"{error}. The file of {self.backbone.module} goes along alone: it may import torch and the standard library, and "
            f"no other file. The study keeps the weights and the architecture"
        )

    def _built(self) -> nn.Module:
        # On the CPU: the function may read values of its weights, which the meta device has not got.
        return build(self.architecture, code=self.code)


def network_source(architecture: Architecture, code: CodePermission = NO_CODE) -> NetworkSource:
    """The network of `architecture`. code: as for `build`."""
    backbone = architecture.backbone
    if isinstance(backbone, OwnBackbone):
        return OwnNetwork(architecture, backbone, code)
    return FamilyNetwork(architecture, backbone.geometry())


def _block(block: BlockGeometry, attention: AttentionByPlace) -> Call:
    keywords: dict[str, Any] = block_settings(block)
    keywords |= {place: _attention(spec, channels) for place, (spec, channels) in attention.items()}
    return Call(BLOCKS[block.kind].__name__, block_channels(block), keywords)


def _attention(spec: AttentionSpec, channels: int) -> Call:
    settings = {name: getattr(spec, name) for name in type(spec).settings()}
    return Call(ATTENTION_MODULES[spec.kind].__name__, (channels,), settings)


def _as_read_from_a_file(value: Tensor) -> Tensor:
    """On CPU, with the strides that its shape gives.

    A 1x1 convolution's weight out of a channels_last network counts as contiguous, so that `contiguous` would leave its strides
    as they are; torch then computes in channels_last and adds up in another order than with the weight read from the file.
    """
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)
