from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_streams_that_were_closed_are_open_and_hold_no_others_place(tmp_path: Path) -> None:
    code = """
import os, sys
for descriptor in range(3):
    os.close(descriptor)
sys.stdin = sys.stdout = sys.stderr = None
from cbam_search.cli.streams import prepare_streams
prepare_streams()
print("to nobody")
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(file, f"{file > 2} {sys.stdin.read()!r} {all(os.get_inheritable(number) for number in range(3))}".encode())
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "said")], check=True)
    assert (tmp_path / "said").read_text() == "True '' True"
