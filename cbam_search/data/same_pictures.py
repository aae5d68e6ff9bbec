"""One picture several times: under different labels, or again in one split. Told by the digests of encoded files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cbam_search.counted import counted
from cbam_search.data.source import IntArray
from cbam_search.safe_text import printable

DIGEST_BYTES = 16


@dataclass(frozen=True)
class SplitDigests:
    """digests: 16 bytes an image, one behind the other. labels: (N,) dense. name: of the image at a place, for the reader."""

    digests: bytes
    labels: IntArray
    name: Callable[[int], str]


def same_picture_notes(splits: Mapping[str, SplitDigests], class_names: tuple[str, ...]) -> Iterator[str]:
    """A sentence on pictures with contradicting labels, over all splits, and one on copies for each split."""
    names = list(splits)
    keys = np.frombuffer(b"".join(split.digests for split in splits.values()), dtype=np.uint64).reshape(-1, 2)
    if len(keys) < 2:
        return
    labels = np.concatenate([split.labels for split in splits.values()])
    sizes = [len(split.labels) for split in splits.values()]
    split_of = np.repeat(np.arange(len(names)), sizes)
    first_of = np.concatenate([[0], np.cumsum(sizes)[:-1]])

    order = np.lexsort((split_of, keys[:, 1], keys[:, 0]))
    same = (keys[order[1:]] == keys[order[:-1]]).all(axis=1)  # as the one before, in this order
    group = np.concatenate([[0], np.cumsum(~same)])

    def called(row: int) -> str:
        split = int(split_of[row])
        return splits[names[split]].name(row - int(first_of[split]))

    differs = np.flatnonzero(same & (labels[order[1:]] != labels[order[:-1]]))
    if len(differs):
        contradicting = np.isin(group, group[differs])
        one, other = int(order[differs[0]]), int(order[differs[0] + 1])
        yield (
            f"{counted(int(contradicting.sum()), 'image')} show {counted(len(np.unique(group[differs])), 'picture')} with "
            f"contradicting labels, such as {called(one)} ({printable(class_names[labels[one]])}) and {called(other)} "
            f"({printable(class_names[labels[other]])})."
        )
    again = same & (split_of[order[1:]] == split_of[order[:-1]]) & ~np.isin(group[1:], group[differs])
    for number, name in enumerate(names):
        copies = np.flatnonzero(again & (split_of[order[1:]] == number))
        if len(copies) and name != "test":
            one, other = int(order[copies[0]]), int(order[copies[0] + 1])
            yield (
                f"{counted(len(copies), 'image')} of the {name} split {'is a copy' if len(copies) == 1 else 'are copies'} of "
                f"another in it ({called(one)} and {called(other)}). Copies stay."
            )
