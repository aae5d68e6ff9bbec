"""Architectures as data: no torch here."""

from cbam_search.architecture.architecture import Architecture, published
from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, hidden_width
from cbam_search.architecture.backbone import FAMILIES, Backbone
from cbam_search.architecture.geometry import BlockGeometry, Geometry, Site, StemGeometry
from cbam_search.architecture.kinds.bam import BamSpec
from cbam_search.architecture.kinds.cbam import POOLS, CbamSpec, Pool
from cbam_search.architecture.kinds.coordinate import CoordinateSpec
from cbam_search.architecture.kinds.eca import EcaSpec
from cbam_search.architecture.kinds.global_context import GlobalContextSpec
from cbam_search.architecture.kinds.se import SeSpec

__all__ = [
    "ATTENTION_KINDS",
    "FAMILIES",
    "POOLS",
    "Architecture",
    "AttentionSpec",
    "Backbone",
    "BamSpec",
    "BlockGeometry",
    "CbamSpec",
    "CoordinateSpec",
    "EcaSpec",
    "Geometry",
    "GlobalContextSpec",
    "Pool",
    "SeSpec",
    "Site",
    "StemGeometry",
    "hidden_width",
    "published",
]
