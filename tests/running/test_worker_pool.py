"""Worker processes: all tasks are done once, deaths are survived, nothing outlives its driver."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from worker_tasks import aborting, deadly, faulty, square

from cbam_search.errors import StudyFailedError
from cbam_search.running import worker_pool
from cbam_search.running.worker_pool import DEATHS_AT_MOST, run_tasks


def test_every_task_is_done_once_by_all_workers() -> None:
    done = list(run_tasks(square, range(40), workers=2))
    assert sorted((task, result[0]) for task, result in done) == [(task, task * task) for task in range(40)]
    assert {result[1] for _, result in done} == {0, 1}


def test_fewer_tasks_than_workers() -> None:
    assert [task for task, _ in run_tasks(square, [7], workers=3)] == [7]
    assert list(run_tasks(square, [], workers=3)) == []


def test_a_worker_that_dies_is_replaced_and_its_task_done_again(tmp_path: Path) -> None:
    done = dict(run_tasks(partial(deadly, tmp_path, DEATHS_AT_MOST - 1), range(6), workers=2))
    assert done == {task: -task for task in range(6)}
    assert len(list(tmp_path.iterdir())) == DEATHS_AT_MOST - 1


def test_a_task_that_always_kills_its_worker_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(StudyFailedError, match=r"3: 3 workers died with it, the last with exit code -9"):
        list(run_tasks(partial(deadly, tmp_path, 100), range(6), workers=2))


def test_what_a_worker_wrote_last_is_in_the_reason() -> None:
    words = r"exit code -6: Fatal Python error: Aborted \(worker_tasks\.py:\d+, in work\): what\(\):  CUDA error: no kernel"
    with pytest.raises(StudyFailedError, match=words):
        list(run_tasks(aborting, [1], workers=1))


def test_files_in_the_current_folder_stand_in_for_nothing(tmp_path: Path) -> None:
    """As where a script is started that lies there, without the guard that multiprocessing asks for."""
    for name in ("queue", "tempfile", "socket", "profile", "torch", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken for another module')")
    (tmp_path / "main.py").write_text(
        "import sys; sys.path.pop(0)\n"
        "from worker_tasks import square; from cbam_search.running.worker_pool import run_tasks\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "print([result for result, _ in dict(run_tasks(square, [2, 3], workers=1)).values()])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "main.py", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[4, 9]", done.stderr


def test_an_error_is_reported_with_its_traceback() -> None:
    with pytest.raises(StudyFailedError, match=r"(?s)0 failed:.*ZeroDivisionError"):
        list(run_tasks(faulty, [2, 0], workers=1))


def test_an_iterator_that_is_closed_ends_its_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = []
    started = worker_pool._started
    monkeypatch.setattr(
        worker_pool, "_started", lambda *given, **named: processes.append(started(*given, **named)) or processes[-1]
    )
    results = run_tasks(square, range(1000), workers=2)
    next(results)
    assert [worker.process.poll() for worker in processes] == [None, None]
    results.close()
    assert all(worker.process.poll() is not None for worker in processes)


def test_workers_die_with_a_killed_driver(tmp_path: Path) -> None:
    code = (
        "import sys; from functools import partial; from pathlib import Path\n"
        "from worker_tasks import slow; from cbam_search.running.worker_pool import run_tasks\n"
        "if __name__ == '__main__': list(run_tasks(partial(slow, Path(sys.argv[1])), range(4), workers=2))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    (tmp_path / "pids").mkdir()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, script, tmp_path / "pids"], env=environment)
    pids: list[int] = []
    deadline = time.monotonic() + 120
    while len(pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
        pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    assert len(pids) == 2
    driver.kill()
    driver.wait()
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_running, pids))


def _is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
