"""What was odd about the images of a data set, counted and put into words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cbam_search.data.decoding import DecodedImage


@dataclass
class Findings:
    """Counts over the train and validation splits. duplicates: by (split it was removed from, split it stays in)."""

    total: int = 0
    corrupt: int = 0
    first_problem: str = ""
    grey: int = 0
    colour: int = 0
    alpha: int = 0
    sixteen_bit: int = 0
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, image: DecodedImage) -> None:
        self.total += 1
        if image.pixels is None:
            self.corrupt += 1
            self.first_problem = self.first_problem or image.problem
            return
        self.grey += image.is_grey
        self.colour += not image.is_grey
        self.alpha += image.has_alpha
        self.sixteen_bit += image.is_16_bit

    def notes(self, channels: int) -> tuple[str, ...]:
        """One sentence a finding. channels: of the decoded images, 1 or 3."""
        of_all = f"of {self.total:,} images"
        found = [
            (self.corrupt, f"{of_all} could not be decoded and were left out (the first: {self.first_problem})."),
            (self.grey if channels == 3 else 0, f"{of_all} are grey and were copied to three channels."),
            (self.colour if channels == 1 else 0, f"{of_all} are in colour and were made grey."),
            (self.alpha, f"{of_all} have transparency and were composited over white."),
            (self.sixteen_bit, f"{of_all} have 16 bits a channel; the high byte was kept."),
            *(
                (count, f"images of the {split} split are in the {kept} split too and were removed from {split}.")
                for (split, kept), count in self.duplicates.items()
            ),
        ]
        return tuple(f"{count:,} {text}" for count, text in found if count)
