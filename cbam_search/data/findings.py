"""What was odd about the images of a data set, counted and put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cbam_search.data.decoding import DecodedImage

_NAMED = 3


@dataclass
class Findings:
    """Counts over the train and validation splits. duplicates: by (split it was removed from, split it stays in).

    problems, large: of the first three, the image's name and what is wrong with it.
    """

    total: int = 0
    corrupt: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    grey: int = 0
    colour: int = 0
    alpha: int = 0
    sixteen_bit: int = 0
    large_count: int = 0
    large: list[tuple[str, str]] = field(default_factory=list)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, image: DecodedImage, name: Callable[[], str]) -> None:
        """Count one image. name: where a reader finds it; asked for only where it is needed."""
        self.total += 1
        if image.pixels is None:
            self.corrupt += 1
            if len(self.problems) < _NAMED:
                self.problems.append((name(), image.problem))
            return
        self.grey += image.is_grey
        self.colour += not image.is_grey
        self.alpha += image.has_alpha
        self.sixteen_bit += image.is_16_bit
        if image.large:
            self.large_count += 1
            if len(self.large) < _NAMED:
                self.large.append((name(), "{:,} x {:,}".format(*image.large)))

    @property
    def corrupt_images(self) -> str:
        """How many cannot be decoded, which, and why; no full stop."""
        return f"{self.corrupt:,} of {self.total:,} images cannot be decoded: {named(self.problems, self.corrupt)}"

    def notes(self, channels: int) -> tuple[str, ...]:
        """One sentence a finding. channels: of the decoded images, 1 or 3."""
        of_all = f"of {self.total:,} images"
        found = [
            (self.grey if channels == 3 else 0, f"{of_all} are grey and were copied to three channels."),
            (self.colour if channels == 1 else 0, f"{of_all} are in colour and were made grey."),
            (self.alpha, f"{of_all} have transparency and were composited over white."),
            (self.sixteen_bit, f"{of_all} have 16 bits a channel; the high byte was kept."),
            (
                self.large_count,
                f"{of_all} are so large (height x width) that decoding them is slow and takes much memory: "
                f"{named(self.large, self.large_count)}. Save smaller copies.",
            ),
            *(
                (count, f"images of the {split} split are in the {kept} split too and were removed from {split}.")
                for (split, kept), count in self.duplicates.items()
            ),
        ]
        corrupt = (f"{self.corrupt_images}. They were left out.",) if self.corrupt else ()
        return (*corrupt, *(f"{count:,} {text}" for count, text in found if count))


def named(problems: Sequence[tuple[str, str]], count: int) -> str:
    """The first three of `count` images and what is wrong with each: `a.png (why), b.png (why) and 7 more`."""
    shown = ", ".join(f"{name} ({why})" for name, why in problems[:_NAMED])
    more = count - min(len(problems), _NAMED)
    return f"{shown} and {more:,} more" if more > 0 else shown
