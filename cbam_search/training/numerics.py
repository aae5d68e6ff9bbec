"""The version of what trainings come to."""

from __future__ import annotations

NUMERICS_VERSION = 1
"""Results of one version compare with each other, and results of two versions do not.

The number is part of what a kept result belongs to, so that raising it leaves every older result aside. It is raised by hand,
by one, whenever a change of this package's code changes what a training comes to beyond rounding: first weights, order of
batches, augmentation, loss, optimiser, learning rate, attention, backbones, metrics. A default of a setting that decides
results counts too, since the identity of settings leaves out what is at its default. Something new (an attention kind, a
family, an optimiser, an augmentation, a setting whose default leaves all as it was) needs no new version, and neither does code
that computes the same.

tests/training/test_numerics.py guards it: it trains small networks and compares them with tests/training/
numerics_fingerprints.json. Where one of them has moved, either the change was not meant, or the number is raised here and the
file written again, from the repository's root:

    python tests/support/numerics.py
"""
