"""What a process that died had written to stderr: its end, fit to be kept, and the one line of it that says why."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cbam_search.own_source import INSTALLED
from cbam_search.safe_text import printable, without_secrets

BYTES_KEPT = 4096
BYTES_READ = 2**18
"""From the end of a log: a stack with the names of all extension modules takes tens of thousands."""
_LINE_CHARACTERS = 500
_CAUSE_CHARACTERS = 300

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Ray's marks for its log reader; stacks without names, which it writes twice; all modules written in C.
_NOISE = re.compile(
    r"^(:(job_id|actor_name|task_name):|(\[.*\] )?(logging\.cc:\d+: )?(PC: )?\s*@\s+0x|\[.*logging\.cc|\*\*\* SIG"
    r"|Extension modules: )"
)
_FATAL = re.compile(r"Fatal Python error: (?P<what>.*)")
_FRAME = re.compile(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+),? in (?P<function>\S+)')
_TOLD = re.compile(r"what\(\):|error|assert|abort|corrupt|out of memory", re.IGNORECASE)
"""What C and C++ say before they abort."""
_LINES_BEFORE = 5
_RAISED = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Iteration)\b(: .*)?$")


@dataclass(frozen=True)
class WorkerDeath:
    """Why a worker died. reason: one line, the same for the same cause. details: at most BYTES_KEPT bytes; may be empty."""

    reason: str
    details: str = ""


def death_of(written: str, otherwise: str) -> WorkerDeath:
    """written: what the process wrote to stderr, or the end of it. otherwise: the reason where that says none."""
    lines = _worth_keeping(written)
    last = f"; the last that it wrote: {printable(lines[-1].strip(), _CAUSE_CHARACTERS)}" if lines else ""
    return WorkerDeath(_cause(lines) or otherwise + last, _kept(lines))


def end_of_file(path: Path) -> str:
    """The last BYTES_READ bytes as text; nothing where it cannot be read."""
    try:
        with path.open("rb") as file:
            return end_of(file)
    except OSError:
        return ""


def end_of(file: IO[bytes]) -> str:
    """The same of an open file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - BYTES_READ))
    return file.read().decode(errors="replace")


def _cause(lines: list[str]) -> str | None:
    """The line that says why: a fatal error with its place, or an exception at the end; None where there is neither."""
    for number, line in enumerate(lines):
        if found := _FATAL.search(line):
            told = [before.strip() for before in lines[max(0, number - _LINES_BEFORE) : number] if _TOLD.search(before)]
            why = f": {printable(told[-1], _CAUSE_CHARACTERS)}" if told else ""
            return f"Fatal Python error: {found['what']}{_place(lines[number:])}{why}"
    raised = [line for line in lines[-_LINES_BEFORE:] if _RAISED.match(line)]
    return printable(raised[-1].strip(), _CAUSE_CHARACTERS) if raised else None


def _kept(lines: list[str]) -> str:
    """A fatal error and what stands before it, else the end."""
    fatal = next((number for number, line in enumerate(lines) if _FATAL.search(line)), None)
    text = "\n".join(lines if fatal is None else lines[max(0, fatal - _LINES_BEFORE) :]).encode(errors="replace")
    cut = text[-BYTES_KEPT:] if fatal is None else text[:BYTES_KEPT]
    return cut.decode(errors="ignore")


def _worth_keeping(text: str) -> list[str]:
    lines = _COLOURS.sub("", without_secrets(text)).replace("\r", "\n").expandtabs(2).split("\n")
    return [printable(line, _LINE_CHARACTERS) for line in lines if line.strip() and not _NOISE.match(line)]


def _place(lines: list[str]) -> str:
    """Where the stack of a fatal error, innermost first, comes to code that is not installed; else its first line."""
    # Other threads' stacks may come first.
    begin = next((number for number, line in enumerate(lines) if line.startswith("Current thread")), 0)
    frames = [found for line in lines[begin:] if (found := _FRAME.match(line))]
    own = [frame for frame in frames if not any(folder in frame["file"] for folder in INSTALLED) and not _is_python_s(frame)]
    chosen = (own or frames)[:1]
    return "".join(f" ({Path(frame['file']).name}:{frame['line']}, in {frame['function']})" for frame in chosen)


def _is_python_s(frame: re.Match[str]) -> bool:
    return bool(re.search(r"/lib/python3\.\d+/", frame["file"]))
