"""The attention modules in torch, one file a kind, and the operations that they share.

`registry.py` builds the module that an attention spec of an architecture describes.
"""
