"""How many images each class has in each split, and what of that looks wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cbam_search.counted import counted
from cbam_search.data.class_names import without_case
from cbam_search.data.source import IntArray
from cbam_search.data.wording import listed
from cbam_search.errors import DataError
from cbam_search.safe_text import printable

_LISTED = 12
_ENDS = 3
_MOST = 0.9
_NAME_CHARACTERS = 40
_WORDS = {"train": "training", "validation": "validation", "test": "test"}
_NO_VALUES = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "nat", "?", "-", "undefined"})
_NO_CONTENT = frozenset({"mask", "masks", "annotation", "annotations", "labels", "segmentation", "segmentations"})


def refuse_lost_classes(names: tuple[str, ...], labels: Mapping[str, IntArray]) -> None:
    """labels: by split, dense. Raises DataError where training has a single class, shares none with another split, or spells
    one in another case.
    """
    present = {split: np.unique(found) for split, found in labels.items()}
    if len(present["train"]) == 1:
        raise DataError(
            f"The training split has images of one class only, {printable(names[present['train'][0]])}; those of others are in "
            "other splits."
        )
    for split, found in present.items():
        here, there = ([names[label] for label in labels] for labels in (present["train"], found))
        if not set(here) & set(there):
            raise DataError(
                f"The training and the {split} split share no class ({listed(here)} and {listed(there)}). Name the classes "
                "alike."
            )
        trained = {without_case(name): name for name in here}
        for name in set(there) - set(here):
            if meant := trained.get(without_case(name)):
                raise DataError(
                    f"The {split} split has a class {printable(name)} that training lacks, and training has "
                    f"{printable(meant)}. Name the class alike in both."
                )


def class_notes(names: tuple[str, ...], labels: Mapping[str, IntArray]) -> tuple[str, ...]:
    """The counts in one sentence, and a sentence for each thing that looks wrong. labels: by split, dense."""
    splits = [split for split in _WORDS if split in labels]
    counts = np.stack([np.bincount(labels[split], minlength=len(names)) for split in splits])
    return (_counts_note(names, splits, counts), *_warnings(names, dict(zip(splits, counts, strict=True))))


def _counts_note(names: tuple[str, ...], splits: list[str], counts: IntArray) -> str:
    """counts: (splits, classes)."""
    of_splits = f"{' / '.join(_WORDS[split] for split in splits)} images"
    classes = counted(len(names), "class")
    if (counts == counts[:, :1]).all():
        return f"{classes} of {_figures(counts[:, 0])} {of_splits} each: {listed(names, _LISTED)}."
    if len(names) <= _LISTED:
        return f"{classes} ({of_splits}): {'; '.join(_shown(names, counts, range(len(names))))}."
    order = np.argsort(-counts[0], kind="stable")
    largest, smallest = _shown(names, counts, order[:_ENDS]), _shown(names, counts, order[-_ENDS:])
    between = len(names) - 2 * _ENDS
    return f"{classes} ({of_splits}): {'; '.join(largest)}; {between:,} more; {'; '.join(smallest)}."


def _shown(names: tuple[str, ...], counts: IntArray, places: range | IntArray) -> list[str]:
    return [f"{printable(names[place], _NAME_CHARACTERS)}: {_figures(counts[:, place])}" for place in places]


def _figures(counts: IntArray) -> str:
    return " / ".join(f"{number:,}" for number in counts)


def _warnings(names: tuple[str, ...], counts: Mapping[str, IntArray]) -> Iterator[str]:
    train = counts["train"]
    share = train.max() / train.sum()
    if share >= _MOST:
        yield (
            f"Class {printable(names[train.argmax()])} makes up {100 * share:.1f} % of the training images: always guessing it "
            "is right as often. The objectives balanced_accuracy and macro_f1 count all classes alike."
        )
    unmeasured = np.flatnonzero((counts["validation"] == 0) & (train > 0))
    if len(unmeasured):
        have = "class has" if len(unmeasured) == 1 else "classes have"
        shown = listed([names[place] for place in unmeasured])
        yield f"{len(unmeasured):,} {have} no validation image, so that nothing tells how well it is learnt ({shown})."
    for odd, what in ((_NO_VALUES, "no label at all"), (_NO_CONTENT, "files that belong to images")):
        found = [name for name in names if name.strip().lower() in odd]
        if found:
            if len(found) == 1:
                yield f"Class {listed(found)} looks like {what}, not like a class: take it out if so."
            else:
                yield f"Classes {listed(found)} look like {what}, not like classes: take them out if so."
