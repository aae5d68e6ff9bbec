"""One driver a study, also where file locks do not hold: taking over, being taken over, clocks, damage, and stop requests."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from drivers import driver_process, put_lease, write_lease
from permissions import read_only, unprivileged
from studies import new_folder

from cbam_search.errors import LeaseLostError, RecordsError, StudyBusyError
from cbam_search.records import lease as lease_module
from cbam_search.records.driver import SILENT_SECONDS, Standing, driver_of, lease_file, read_lease, request_stop, stop_file
from cbam_search.records.folder import StudyFolder
from cbam_search.records.lease import LeaseGuard, take_lease
from cbam_search.records.process import this_process


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return new_folder(tmp_path)


def standing(folder: StudyFolder) -> Standing:
    driver = driver_of(folder)
    assert driver is not None
    return driver.standing


def test_each_driver_has_the_next_generation(folder: StudyFolder) -> None:
    assert driver_of(folder) is None
    first = take_lease(folder)
    assert standing(folder) is Standing.HELD
    first.release("interrupted")
    found = driver_of(folder)
    assert found is not None
    assert (found.generation, found.standing, found.record.ended) == (1, Standing.RELEASED, "interrupted")
    assert found.record.is_this_one
    second = take_lease(folder)
    assert second.generation == 2
    second.check()
    with pytest.raises(
        LeaseLostError, match=f"process {this_process().process}\\) took over the study in .*writes nothing more"
    ):
        first.check()


def test_a_driver_that_lives_is_not_taken_over(folder: StudyFolder) -> None:
    with driver_process(folder) as process:
        assert standing(folder) is Standing.HELD
        words = rf"process {process.pid} since .*last heard of.*cbam-search stop .*can take the study over from"
        with pytest.raises(StudyBusyError, match=words):
            take_lease(folder)
    assert sorted(path.name for path in folder.lease.iterdir()) == ["1.json"]


def test_a_driver_that_was_killed_is_taken_over_at_once(folder: StudyFolder) -> None:
    with driver_process(folder) as process:
        process.kill()
        process.wait()
    assert standing(folder) is Standing.DEAD
    assert take_lease(folder).generation == 2


def test_a_killed_driver_that_nobody_has_waited_for_is_dead(folder: StudyFolder) -> None:
    with driver_process(folder) as process:
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == ""  # its files are closed; it is a zombie until it is waited for
        deadline = time.monotonic() + 10
        while standing(folder) is not Standing.DEAD and time.monotonic() < deadline:
            time.sleep(0.01)
        assert standing(folder) is Standing.DEAD


def test_a_process_number_that_is_used_again_is_another_process(folder: StudyFolder) -> None:
    here = this_process()
    started = here.process_started
    if started is None:
        pytest.skip("this system does not tell when a process started")
    with driver_process(folder):
        record = read_lease(folder, 1)
        assert not record.is_gone
        assert record.model_copy(update={"process_started": (record.process_started or 0) - 1}).is_gone
        assert not record.model_copy(update={"process_started": None}).is_gone


def test_a_machine_that_was_heard_of_is_left_alone_for_ten_minutes(folder: StudyFolder) -> None:
    record = write_lease(folder, heard_seconds_ago=0.0)
    until = record.heartbeat_seconds + SILENT_SECONDS
    with pytest.raises(StudyBusyError, match=r"far-away, process 4711.*If that machine is gone"):
        take_lease(folder, clock=lambda: until - 1.0)
    assert take_lease(folder, clock=lambda: until + 1.0).generation == 2


def test_a_heartbeat_in_the_future_is_watched(folder: StudyFolder) -> None:
    write_lease(folder, heard_seconds_ago=-3600.0)
    waited: list[float] = []
    notes: list[str] = []
    lease = take_lease(folder, sleep=waited.append, note=notes.append)
    assert lease.generation == 2
    assert sum(waited) == pytest.approx(60.0)
    assert "in the future" in notes[0]


def test_a_driver_whose_clock_is_ahead_shows_that_it_lives(folder: StudyFolder) -> None:
    record = write_lease(folder, heard_seconds_ago=-3600.0)

    def beats(_: float) -> None:
        put_lease(folder, 1, record.model_copy(update={"heartbeat_seconds": record.heartbeat_seconds + 30.0}))

    with pytest.raises(StudyBusyError, match="ahead of this machine's"):
        take_lease(folder, sleep=beats)
    assert not lease_file(folder, 2).exists()


def test_a_driver_that_lets_go_while_it_is_watched_is_succeeded(folder: StudyFolder) -> None:
    record = write_lease(folder, heard_seconds_ago=-3600.0)

    def releases(_: float) -> None:
        put_lease(folder, 1, record.model_copy(update={"released_seconds": record.heartbeat_seconds, "ended": "trials"}))

    assert take_lease(folder, sleep=releases).generation == 2


def test_a_clock_that_jumps_back_leaves_a_driver_its_lease(folder: StudyFolder) -> None:
    times = iter([1000.0, 5000.0, 2000.0])
    lease = take_lease(folder, clock=lambda: next(times))
    lease.beat()
    lease.beat()
    lease.check()
    assert read_lease(folder, 1).heartbeat_seconds == 2000.0


def test_two_drivers_with_a_broken_lock_cannot_both_win(folder: StudyFolder) -> None:
    take_lease(folder).release("interrupted")
    start = threading.Barrier(8)
    won: list[int] = []
    lost: list[str] = []

    def take() -> None:
        start.wait()
        try:
            won.append(take_lease(folder).generation)
        except StudyBusyError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # This process may follow itself, and so may win several generations, but none twice.
    assert len(won) == len(set(won)) >= 1
    assert len(won) + len(lost) == 8


def test_of_two_processes_one_wins(folder: StudyFolder) -> None:
    script = (
        "import sys; from pathlib import Path; from cbam_search.records.folder import StudyFolder\n"
        "from cbam_search.records.lease import take_lease; from cbam_search.errors import StudyBusyError\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "try: print(take_lease(StudyFolder(Path(sys.argv[1]))).generation, flush=True)\n"
        "except StudyBusyError as error: print(error, flush=True)\n"
        "sys.stdin.readline()"
    )
    command = [sys.executable, "-c", script, str(folder.path)]
    takers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for taker in takers:
            assert taker.stdout and taker.stdout.readline() == "ready\n"
        for taker in takers:
            assert taker.stdin
            taker.stdin.write("go\n")
            taker.stdin.flush()
        said = sorted(taker.stdout.readline() for taker in takers if taker.stdout)
    finally:
        for taker in takers:
            taker.communicate()
    assert said[0] == "1\n"
    assert "is driven by" in said[1]


def test_a_driver_that_was_taken_over_writes_no_heartbeat(folder: StudyFolder) -> None:
    lease = take_lease(folder)
    before = lease_file(folder, 1).read_bytes()
    write_lease(folder, heard_seconds_ago=0.0, generation=2)
    with pytest.raises(LeaseLostError, match="far-away, process 4711"):
        lease.beat()
    lease.release("trials")
    assert lease_file(folder, 1).read_bytes() == before


def test_a_file_that_two_have_written_belongs_to_the_later_one(folder: StudyFolder) -> None:
    lease = take_lease(folder)
    other = write_lease(folder, heard_seconds_ago=0.0, generation=1)
    with pytest.raises(LeaseLostError, match="far-away"):
        lease.beat()
    assert read_lease(folder, 1) == other


def test_the_thread_beats_through_a_full_disk_and_ends_when_the_lease_is_lost(
    folder: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[str] = []
    write = lease_module.write_atomically

    def full_at_first(path: Path, content: str) -> None:
        writes.append(content)
        if len(writes) < 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease_module, "write_atomically", full_at_first)
    lease = take_lease(folder)
    before = read_lease(folder, 1)
    lease.start()
    deadline = time.monotonic() + 10
    while read_lease(folder, 1) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read_lease(folder, 1).heartbeat_seconds > before.heartbeat_seconds
    write_lease(folder, heard_seconds_ago=0.0, generation=2)
    assert lease._thread is not None
    lease._thread.join(10)
    assert not lease._thread.is_alive()
    lease.release("failed")
    assert read_lease(folder, 1).released_seconds is None


@pytest.mark.parametrize(
    ("error", "ended"), [(None, "ended"), (RuntimeError(), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_a_lease_is_released_however_its_driver_ends(folder: StudyFolder, error: BaseException | None, ended: str) -> None:
    try:
        with take_lease(folder) as lease:
            if error is not None:
                raise error
    except (RuntimeError, KeyboardInterrupt):
        pass
    assert read_lease(folder, 1).ended == ended
    released = lease_file(folder, 1).read_bytes()
    lease.beat()
    lease.release("again")
    assert lease_file(folder, 1).read_bytes() == released


def test_what_the_driver_says_of_its_end_stays(folder: StudyFolder) -> None:
    with take_lease(folder) as lease:
        lease.release("trials")
    assert read_lease(folder, 1).ended == "trials"


def test_a_folder_that_was_removed_is_not_made_again(folder: StudyFolder) -> None:
    lease = take_lease(folder)
    for path in (lease_file(folder, 1), folder.manifest):
        path.unlink()
    folder.lease.rmdir()
    folder.path.rmdir()
    with pytest.raises(RecordsError, match="was moved or removed"):
        lease.beat()
    lease.release("trials")
    assert not folder.path.exists()


@pytest.mark.parametrize("content", ["", "{", '{"host": "a"}', "\x00" * 200])
def test_a_damaged_lease_says_what_to_do_and_heals_where_its_driver_lives(folder: StudyFolder, content: str) -> None:
    lease = take_lease(folder)
    lease_file(folder, 1).write_text(content)
    for ask in (driver_of, take_lease):
        with pytest.raises(RecordsError, match=r"1\.json is damaged.*try again in a minute.*remove that file"):
            ask(folder)
    lease.beat()
    assert standing(folder) is Standing.HELD


def test_a_guard_can_be_handed_to_another_process(folder: StudyFolder) -> None:
    guard = pickle.loads(pickle.dumps(take_lease(folder).guard))
    assert guard == LeaseGuard(folder, 1)
    guard.check()
    write_lease(folder, heard_seconds_ago=0.0, generation=2)
    with pytest.raises(LeaseLostError):
        guard.check()


def test_a_stop_request_stops_no_later_driver(folder: StudyFolder) -> None:
    lease = take_lease(folder)
    assert not lease.stop_requested()
    request_stop(folder, lease.generation, clock=lambda: 5.0)
    request_stop(folder, lease.generation, clock=lambda: 6.0)
    assert lease.stop_requested()
    driver = driver_of(folder)
    assert driver is not None and driver.stop is not None
    assert (driver.stop.process, driver.stop.time_seconds) == (this_process().process, 5.0)
    lease.release("interrupted")
    assert not take_lease(folder).stop_requested()


@pytest.mark.parametrize("call", ["take_lease(folder)", "request_stop(folder, 1)", "folder.lock()"])
def test_a_folder_that_cannot_be_written_is_the_readers_business(folder: StudyFolder, call: str) -> None:
    take_lease(folder).release("trials")
    script = (
        "import sys; from pathlib import Path; from cbam_search.errors import UserError\n"
        "from cbam_search.records.folder import StudyFolder\n"
        "from cbam_search.records.driver import request_stop; from cbam_search.records.lease import take_lease\n"
        "folder = StudyFolder(Path(sys.argv[1]))\n"
        f"try: {call}\n"
        "except UserError as error: print(error)"
    )
    with read_only(folder.path):
        command = [*unprivileged(), sys.executable, "-c", script, str(folder.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Permission denied" in done.stdout
    assert not stop_file(folder, 1).exists()


def test_a_driver_whose_folder_was_moved_writes_nothing_more(folder: StudyFolder) -> None:
    lease = take_lease(folder)
    lease.check()
    moved = folder.path.rename(folder.path.with_name("moved"))
    with pytest.raises(RecordsError, match="was moved or removed while its study ran"):
        lease.check()
    moved.rename(folder.path)
    lease.check()
