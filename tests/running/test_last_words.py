"""Why a process died, from what it wrote last: the line that says so, and an end that is short and fit to be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.running.last_words import BYTES_KEPT, BYTES_READ, death_of, end_of_file

STACK = """\
terminate called after throwing an instance of 'c10::Error'
  what():  CUDA error: device-side assert triggered
*** SIGABRT received at time=1795813887 on cpu 0 ***
PC: @     0x7fab26385ad8  (unknown)  (unknown)
[2026-11-27 21:11:27,383 E 7423 7423] logging.cc:474:     @     0x7fab2625a050  (unknown)  (unknown)
Fatal Python error: Aborted

Thread 0x00006f (most recent call first):
  File "/home/me/other.py", line 3 in wait

Current thread 0x00007f (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/venv/lib/python3.11/site-packages/torch/nn/functional.py", line 10 in conv
  File "/home/me/net.py", line 7 in forward
  File "/venv/lib/python3.11/site-packages/ray/worker.py", line 487 in main_loop

Extension modules: numpy.core._multiarray_umath (total: 1)
"""


def test_a_fatal_error_is_told_with_its_place_and_what_was_said_before() -> None:
    death = death_of(STACK, "nothing")
    assert (
        death.reason == "Fatal Python error: Aborted (net.py:7, in forward): what():  CUDA error: device-side assert triggered"
    )
    assert "CUDA error" in death.details
    assert "/home/me/net.py" in death.details
    assert "0x7fab" not in death.details
    assert "Extension modules" not in death.details


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "killed"),
        (":job_id:01000000\n:actor_name:A\n", "killed"),
        ("x.py:3: UserWarning: odd\n  warn('odd')\n", "killed; the last that it wrote: warn('odd')"),
        (
            "Traceback (most recent call last):\n  File 'x', line 1\nModuleNotFoundError: No module named 'a'\n",
            "ModuleNotFoundError: No module named 'a'",
        ),
        ("\x1b[36mray::A()\x1b[39m (pid=1)\nray.exceptions.RayError: gone\n", "ray.exceptions.RayError: gone"),
    ],
)
def test_the_reason_is_an_exception_at_the_end_or_says_that_there_is_none(written: str, reason: str) -> None:
    assert death_of(written, "killed").reason == reason


def test_what_is_kept_is_short_printable_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "hf_abcdefgh")
    lines = [f"line {number} \x1b]0;title\x07 é hf_abcdefgh postgresql://me:pass1234@db" for number in range(1000)]
    details = death_of("\n".join(lines), "killed").details
    assert 0.9 * BYTES_KEPT < len(details.encode()) <= BYTES_KEPT
    assert details.splitlines()[-1].startswith("line 999 ")
    assert all(character.isprintable() or character == "\n" for character in details)
    assert "hf_abcdefgh" not in details
    assert "pass1234" not in details


def test_the_end_of_a_file_is_read_whatever_its_size(tmp_path: Path) -> None:
    log = tmp_path / "worker.err"
    log.write_bytes(b"\xff" * BYTES_READ + b"the end")
    assert end_of_file(log).endswith("the end")
    assert len(end_of_file(log)) <= BYTES_READ
    assert end_of_file(tmp_path / "none") == ""
