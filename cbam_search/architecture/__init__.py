"""Architectures as data, without torch: a backbone and the attention at its sites.

Holds the specs of all attention kinds, the geometry of all families, their names and canonical forms.
"""

from cbam_search.architecture.architecture import AnyBackbone, Architecture, published
from cbam_search.architecture.attention_spec import ATTENTION_KINDS, AttentionSpec, hidden_width
from cbam_search.architecture.backbone import FAMILIES, Backbone, Family
from cbam_search.architecture.geometry import BlockGeometry, Geometry, Site, StemGeometry
from cbam_search.architecture.kinds.bam import BamSpec
from cbam_search.architecture.kinds.cbam import POOLS, CbamSpec, Pool
from cbam_search.architecture.kinds.coordinate import CoordinateSpec
from cbam_search.architecture.kinds.eca import EcaSpec
from cbam_search.architecture.kinds.global_context import GlobalContextSpec
from cbam_search.architecture.kinds.se import SeSpec
from cbam_search.architecture.own_backbone import OwnBackbone, OwnSite
from cbam_search.architecture.sites import POSITIONS

__all__ = [
    "ATTENTION_KINDS",
    "FAMILIES",
    "POOLS",
    "POSITIONS",
    "AnyBackbone",
    "Architecture",
    "AttentionSpec",
    "Backbone",
    "BamSpec",
    "BlockGeometry",
    "CbamSpec",
    "CoordinateSpec",
    "EcaSpec",
    "Family",
    "Geometry",
    "GlobalContextSpec",
    "OwnBackbone",
    "OwnSite",
    "Pool",
    "SeSpec",
    "Site",
    "StemGeometry",
    "hidden_width",
    "published",
]
