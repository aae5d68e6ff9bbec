"""The 1,797 handwritten digits that scikit-learn ships: 8 x 8 grey, ten classes (Alpaydin and Kaynak, UCI, 1998)."""

from __future__ import annotations

import numpy as np

from cbam_search.data.function import array_split
from cbam_search.data.source import Source


def open_digits() -> Source:
    """The digits as one training split; intensities 0..16 become 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Source(
        splits={"train": array_split(images, digits.target)},
        identity="scikit-learn digits",
        label_names=tuple(str(name) for name in digits.target_names),
    )
