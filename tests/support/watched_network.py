"""A user's own network that notes each step of its training, and whose training fails or dies where its name says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cbam_search.architecture import Architecture, OwnBackbone, OwnSite
from cbam_search.own_code import CodePermission
from cbam_search.own_source import source_digest
from cbam_search.running.worker_report import EvaluationTask

_NETWORK = """
import os, signal, sys, time
from pathlib import Path
from torch import nn

HERE = Path(__file__).parent

class Net(nn.Module):
    def __init__(self, name, in_channels, classes, step_seconds=0.0):
        super().__init__()
        self.name, self.step_seconds = name, step_seconds
        self.layer = nn.Conv2d(in_channels, 4, 3, bias=False)
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        if self.training:
            self.note_step()
        return self.head(self.layer(x).relu().mean((2, 3)))

    def note_step(self):
        time.sleep(self.step_seconds)
        steps = HERE / f"{self.name}.steps"
        with steps.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        taken = len(steps.read_text().split())
        if self.name.startswith("slow") and taken == 2:
            time.sleep(25)
        if self.name.startswith("failing") and taken == 2:
            raise RuntimeError("failing on purpose")
        if self.name.startswith("deadly") and taken == 3 or self.name.startswith("always_deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.name.startswith("aborting") and taken >= 4:
            print("error: beyond repair", file=sys.stderr, flush=True)
            os.abort()
        if self.name.startswith("leaving"):
            raise SystemExit(3)
        if self.name.startswith("interrupting"):
            raise KeyboardInterrupt
"""


@dataclass(frozen=True)
class WatchedNetworks:
    """Networks whose code and notes lie in `folder`.

    By the beginning of its name one

    - `slow` takes 25 s for its second step,
    - `failing` raises in its second step,
    - `deadly` kills its process in the third step that is ever taken,
    - `always_deadly` does so in every step,
    - `aborting` writes an error to stderr and aborts its process, from the fourth step on,
    - `leaving` raises SystemExit, and `interrupting` KeyboardInterrupt.

    A step takes `step_seconds` longer than it would, an argument.
    """

    folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> WatchedNetworks:
        folder.mkdir()
        (folder / "net.py").write_text(_NETWORK, encoding="utf-8")
        return cls(folder)

    @property
    def code(self) -> CodePermission:
        return CodePermission(self.folder)

    def task(self, name: str) -> EvaluationTask:
        """An evaluation of that name, for grey images in ten classes."""
        backbone = OwnBackbone(
            module="net:Net",
            arguments=(("name", name),),
            source=source_digest("net:Net", self.folder),
            attention_after=(OwnSite(name="layer", channels=4),),
            in_channels=1,
            classes=10,
        )
        return EvaluationTask(name, Architecture(backbone=backbone), seed=0)

    def steps(self, name: str) -> int:
        """Taken so far, by all workers together."""
        return len(self._noted(name))

    def worker(self, name: str) -> int:
        """Id of the process that took the last step."""
        return int(self._noted(name)[-1])

    def _noted(self, name: str) -> list[str]:
        file = self.folder / f"{name}.steps"
        return file.read_text().split() if file.exists() else []
