"""From an image source (folder, parquet, hub, function) to arrays of images with labels.

Reads, decodes, splits, caches and augments them.
"""
