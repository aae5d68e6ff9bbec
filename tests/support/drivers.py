"""Drivers to look at: a process that holds a study's lock and lease, and leases of machines that are not here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cbam_search.records.driver import LeaseRecord, lease_file
from cbam_search.records.folder import StudyFolder

_DRIVER = """
import sys, time
from pathlib import Path
from cbam_search.records.folder import StudyFolder
from cbam_search.records.lease import take_lease
folder = StudyFolder(Path(sys.argv[1]))
with folder.lock():
    lease = take_lease(folder)
    print("held", flush=True)
    while not lease.stop_requested():
        time.sleep(0.05)
    lease.release("interrupted")
"""


@contextmanager
def driver_process(folder: StudyFolder) -> Iterator[subprocess.Popen[str]]:
    """A process that drives the study, as far as others can see, until it is asked to stop or killed."""
    process = subprocess.Popen([sys.executable, "-c", _DRIVER, str(folder.path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def write_lease(folder: StudyFolder, *, heard_seconds_ago: float, host: str = "far-away", generation: int = 1) -> LeaseRecord:
    """A lease that another machine wrote and did not release."""
    heartbeat = time.time() - heard_seconds_ago
    record = LeaseRecord(
        host=host, process=4711, process_started=12, since_seconds=heartbeat - 100.0, heartbeat_seconds=heartbeat
    )
    put_lease(folder, generation, record)
    return record


def put_lease(folder: StudyFolder, generation: int, record: LeaseRecord) -> None:
    path = lease_file(folder, generation)
    path.parent.mkdir(exist_ok=True)
    path.write_text(record.model_dump_json(), encoding="utf-8")
