"""Writes a trained network as a folder with a Python module that needs torch only.

Checks, in a process without this package, that it computes the same.
"""
