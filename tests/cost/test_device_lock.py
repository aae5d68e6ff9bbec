"""The lock between real processes: who may hold it with whom, that a measurement has its turn, that the dead hold nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cbam_search.cost.device_lock import LOCKS_VARIABLE, DeviceLock, locks_folder

HOLD = """
import sys, time
from pathlib import Path
from cbam_search.cost.device_lock import DeviceLock
folder, how, name = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(folder / f"{name}.waits").touch()
with getattr(DeviceLock("cpu", folder / "locks"), how)():
    (folder / f"{name}.holds").touch()
    while not (folder / f"{name}.release").exists():
        time.sleep(0.005)
(folder / f"{name}.done").touch()
"""
EPOCHS = """
import sys, time
from pathlib import Path
from cbam_search.cost.device_lock import DeviceLock
folder, name = Path(sys.argv[1]), sys.argv[2]
lock = DeviceLock("cpu", folder / "locks")
(folder / f"{name}.waits").touch()
while not (folder / "enough").exists():
    with lock.shared():
        time.sleep(0.05)
"""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def run(code: str, *arguments: object) -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)]))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} never came"
        time.sleep(0.005)


def stays_away(path: Path) -> bool:
    time.sleep(0.3)
    return not path.exists()


def test_trainings_hold_it_together_and_a_measurement_alone(tmp_path: Path, start: Start) -> None:
    for name in ("first", "second"):
        start(HOLD, tmp_path, "shared", name)
        wait_for(tmp_path / f"{name}.holds")
    start(HOLD, tmp_path, "exclusive", "measurement")
    wait_for(tmp_path / "measurement.waits")
    assert stays_away(tmp_path / "measurement.holds")
    (tmp_path / "first.release").touch()
    assert stays_away(tmp_path / "measurement.holds")
    (tmp_path / "second.release").touch()
    wait_for(tmp_path / "measurement.holds")
    start(HOLD, tmp_path, "shared", "third")
    start(HOLD, tmp_path, "exclusive", "other-measurement")
    wait_for(tmp_path / "third.waits")
    wait_for(tmp_path / "other-measurement.waits")
    assert stays_away(tmp_path / "third.holds")
    assert stays_away(tmp_path / "other-measurement.holds")
    for name in ("measurement", "third", "other-measurement"):
        (tmp_path / f"{name}.release").touch()
    for name in ("third", "other-measurement"):
        wait_for(tmp_path / f"{name}.done")


def test_an_epoch_that_begins_later_waits_behind_a_measurement_that_waits(tmp_path: Path, start: Start) -> None:
    start(HOLD, tmp_path, "shared", "under-way")
    wait_for(tmp_path / "under-way.holds")
    start(HOLD, tmp_path, "exclusive", "measurement")
    wait_for(tmp_path / "measurement.waits")
    assert stays_away(tmp_path / "measurement.holds")
    start(HOLD, tmp_path, "shared", "later")
    wait_for(tmp_path / "later.waits")
    assert stays_away(tmp_path / "later.holds")
    (tmp_path / "under-way.release").touch()
    wait_for(tmp_path / "measurement.holds")
    assert stays_away(tmp_path / "later.holds")
    (tmp_path / "measurement.release").touch()
    wait_for(tmp_path / "later.holds")


def test_trainings_that_overlap_for_ever_do_not_starve_a_measurement(tmp_path: Path, start: Start) -> None:
    for name in ("a", "b", "c"):
        start(EPOCHS, tmp_path, name)
        wait_for(tmp_path / f"{name}.waits")
    for name in ("one", "two", "three"):
        start(HOLD, tmp_path, "exclusive", name)
        (tmp_path / f"{name}.release").touch()
        wait_for(tmp_path / f"{name}.done")
    (tmp_path / "enough").touch()


@pytest.mark.parametrize("how", ["shared", "exclusive"])
def test_a_killed_process_lets_go(tmp_path: Path, start: Start, how: str) -> None:
    killed = start(HOLD, tmp_path, how, "killed")
    wait_for(tmp_path / "killed.holds")
    os.kill(killed.pid, signal.SIGKILL)
    with DeviceLock("cpu", tmp_path / "locks").exclusive():
        assert not (tmp_path / "killed.done").exists()


def test_a_killed_process_that_waited_is_in_nobody_s_way(tmp_path: Path, start: Start) -> None:
    start(HOLD, tmp_path, "shared", "under-way")
    wait_for(tmp_path / "under-way.holds")
    waiting = start(HOLD, tmp_path, "exclusive", "killed")
    wait_for(tmp_path / "killed.waits")
    assert stays_away(tmp_path / "killed.holds")
    os.kill(waiting.pid, signal.SIGKILL)
    with DeviceLock("cpu", tmp_path / "locks").shared():
        assert not (tmp_path / "under-way.done").exists()


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with DeviceLock("cuda-1", tmp_path).exclusive(), DeviceLock("cuda-2", tmp_path).exclusive():
        assert len(list(tmp_path.iterdir())) == 4


def test_an_error_inside_lets_go(tmp_path: Path) -> None:
    lock = DeviceLock("cpu", tmp_path)
    for held in (lock.exclusive, lock.shared):
        with pytest.raises(RuntimeError), held():
            raise RuntimeError
    with lock.exclusive():
        pass


def test_other_users_can_lock_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "locks"))
    with DeviceLock("cpu").shared():
        pass
    assert stat.S_IMODE(locks_folder().stat().st_mode) == 0o1777
    assert {stat.S_IMODE(path.stat().st_mode) for path in locks_folder().iterdir()} == {0o644}


def test_a_place_in_line_is_kept_between_two_looks(tmp_path: Path, start: Start) -> None:
    start(HOLD, tmp_path, "shared", "under-way")
    wait_for(tmp_path / "under-way.holds")
    place = DeviceLock("cpu", tmp_path / "locks").for_measuring()
    assert not place.had_within(0.05)
    start(HOLD, tmp_path, "shared", "later")
    wait_for(tmp_path / "later.waits")
    assert stays_away(tmp_path / "later.holds")
    (tmp_path / "under-way.release").touch()
    assert place.had_within(60)
    assert stays_away(tmp_path / "later.holds")
    place.let_go()
    wait_for(tmp_path / "later.holds")


def test_who_gives_its_place_up_is_in_nobody_s_way(tmp_path: Path) -> None:
    lock = DeviceLock("cpu", tmp_path)
    with lock.shared():
        place = lock.for_measuring()
        assert not place.had_within(0.0)
        other = lock.for_training()
        assert not other.had_within(0.0)
        place.let_go()
        assert other.had_within(60)
        other.let_go()
