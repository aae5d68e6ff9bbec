"""What was odd about the images of a data set, counted and put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from cbam_search.counted import counted
from cbam_search.data.decoding import DecodedImage
from cbam_search.data.examples import Examples


@dataclass
class Findings:
    """Over the train and validation splits; unread_tests: over the test split.

    duplicates: by (split it was removed from, split it stays in).
    """

    total: int = 0
    corrupt: Examples = field(default_factory=Examples)
    grey: int = 0
    colour: int = 0
    alpha: int = 0
    sixteen_bit: int = 0
    large: Examples = field(default_factory=Examples)
    unread_tests: Examples = field(default_factory=Examples)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, image: DecodedImage, name: Callable[[], str]) -> None:
        """Count one image. name: where a reader finds it."""
        self.total += 1
        if image.pixels is None:
            self.corrupt.add(name, image.problem)
            return
        self.grey += image.is_grey
        self.colour += not image.is_grey
        self.alpha += image.has_alpha
        self.sixteen_bit += image.is_16_bit
        if image.large:
            self.large.add(name, "{:,} x {:,}".format(*image.large))

    def add_unread_test(self, image: DecodedImage, name: Callable[[], str]) -> None:
        """Count a test image of which there is nothing to read; the others are not even decoded."""
        self.unread_tests.add(name, image.problem)

    @property
    def corrupt_images(self) -> str:
        """How many cannot be decoded, which, and why; no full stop."""
        return f"{self.corrupt.count:,} of {self.total:,} images cannot be decoded: {self.corrupt}"

    def notes(self, channels: int) -> tuple[str, ...]:
        """One sentence a finding. channels: of the decoded images, 1 or 3."""
        of_all = f"of {self.total:,} images"
        found = [
            (self.grey if channels == 3 else 0, f"{of_all} are grey and were copied to three channels."),
            (self.colour if channels == 1 else 0, f"{of_all} are in colour and were made grey."),
            (self.alpha, f"{of_all} have transparency and were composited over white."),
            (self.sixteen_bit, f"{of_all} have 16 bits a channel; the high byte was kept."),
            (
                self.large.count,
                f"{of_all} are so large (height x width) that decoding them is slow and takes much memory: {self.large}. Save "
                "smaller copies.",
            ),
        ]
        notes = [f"{self.corrupt_images}. They were left out."] if self.corrupt.count else []
        notes += [f"{count:,} {text}" for count, text in found if count]
        if self.unread_tests.count:
            notes.append(f"{counted(self.unread_tests.count, 'image')} of the test split cannot be read: {self.unread_tests}.")
        for (split, kept), count in self.duplicates.items():
            is_in = "is in the {} split too and was" if count == 1 else "are in the {} split too and were"
            notes.append(f"{counted(count, 'image')} of the {split} split {is_in.format(kept)} removed from {split}.")
        return tuple(notes)
