"""Whole studies, from a YAML file to a front: the settings, launch, resume, plan and tabulate.

Puts the parts of the other rooms together.
"""
