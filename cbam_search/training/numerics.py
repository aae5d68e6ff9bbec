"""The version of what trainings come to; torch is not needed for it."""

from __future__ import annotations

NUMERICS_VERSION = 1
"""Results of one version may stand side by side; those of another are left aside.

It is raised by hand, by one, whenever a change of this package's code changes what a training comes to, beyond rounding: first
weights, order of batches, augmentation, loss, optimiser, learning rate, attention, backbones, metrics. A default of a setting
that decides results counts too, since the identity of settings leaves out what is at its default.

Nothing is raised for code that computes the same, nor for what is new beside the old: an attention kind, a family of backbones,
an optimiser, an augmentation, or a setting whose default leaves all as it was.

tests/training/test_numerics.py guards the number: it trains small networks, and compares what they come to with what is kept in
numerics_fingerprints.json beside it. Where that has moved, either the change was not meant, or the number is raised here and
the kept file written again, from the root of the repository:

    python tests/support/numerics.py
"""
