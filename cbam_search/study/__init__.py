"""Whole studies: from a YAML to a front."""
