"""The thread that follows a running study: outages, its end, and what it leaves to the driver's thread."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow_contents import StoreContents
from synthetic_study import SyntheticStudy, candidate

from cbam_search.tracking import uploader as uploader_module
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.rebuild import rebuild
from cbam_search.tracking.uploader import Uploader

LONG_SECONDS = 120.0
UPLOAD_SCRIPT = """
import os, sys
from pathlib import Path
from cbam_search.records.folder import StudyFolder
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.uploader import Uploader
before = dict(os.environ)
uploader = Uploader(StudyFolder(Path(sys.argv[1])), TrackingConfig())
assert "mlflow" not in sys.modules
uploader.start()
assert uploader.stop(120)
changed = {name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name)}
assert not changed, changed
"""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploader_module, "LONGEST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(uploader_module, "LONGEST_PAUSE_AT_END_SECONDS", 0.2)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_running_study_is_followed_to_its_end(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    uploader = Uploader(study.folder, config, poll_seconds=0.05)
    study.open()
    uploader.start()
    study.train(0, candidate(), 0.9, epochs=2)
    wait_until(lambda: uploader.remaining() == 0)
    study.start(1, candidate(gflops=0.002))
    wait_until(lambda: len(store.runs()) == 3)
    assert store.child(1).info.status == "RUNNING"
    study.finish(1, accuracy=0.95)
    study.close()
    assert uploader.stop(LONG_SECONDS)
    assert uploader.problem is None
    assert store.parent().info.status == "FINISHED"
    rebuild(study.folder, TrackingConfig(experiment="rebuilt"))
    assert store.snapshot() == StoreContents(store.uri, "rebuilt").snapshot()


def test_mlflow_is_called_in_the_uploaders_thread_alone(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    threads = set()
    original = MlflowClient.log_batch

    def log_batch(*args: object, **kwargs: object) -> object:
        threads.add(threading.current_thread().name)
        return original(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    uploader = Uploader(study.folder, config, poll_seconds=0.05)
    uploader.start()
    study.train(0, candidate(), 0.9, epochs=1)
    assert uploader.stop(LONG_SECONDS)
    assert threads == {"mlflow-uploader"}


def test_errors_of_mlflow_delay_events_and_lose_none(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    original, away = MlflowClient.log_batch, threading.Event()
    away.set()

    def log_batch(*args: object, **kwargs: object) -> object:
        if away.is_set():
            raise ConnectionError("away")
        return original(*args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    uploader = Uploader(study.folder, config, poll_seconds=0.05)
    uploader.start()
    study.open()
    study.train(0, candidate(), 0.9, epochs=3)
    study.close()
    wait_until(lambda: uploader.problem == "away")
    away.clear()
    assert uploader.stop(LONG_SECONDS)
    assert uploader.problem is None
    assert set(store.children()) == {0}
    assert [step for step, _, _ in store.history(store.child(0), "accuracy")] == [1, 2, 3]


def test_what_an_outage_leaves_is_told_and_sent_later(study: SyntheticStudy, store: StoreContents) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        uploader = Uploader(study.folder, TrackingConfig(uri=f"http://127.0.0.1:{port}"))
        uploader.start()
        study.open()
        study.train(0, candidate(), 0.9, epochs=1)
        study.close()
        wait_until(lambda: uploader.problem is not None)
        assert not uploader.stop(0.1)
        assert uploader.remaining() == 6
    rebuild(study.folder, TrackingConfig())
    assert store.parent().info.status == "FINISHED"
    assert uploader.remaining() == 0


def test_a_server_that_never_answers_holds_nobody(study: SyntheticStudy) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uploader = Uploader(study.folder, TrackingConfig(uri=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        uploader.start()
        study.open()
        study.close()
        assert not uploader.stop(0.5)


def test_switched_off_it_does_nothing(study: SyntheticStudy, tmp_path: Path) -> None:
    uploader = Uploader(study.folder, TrackingConfig(mlflow=False))
    uploader.start()
    study.open()
    assert uploader.stop(LONG_SECONDS)
    assert uploader.remaining() == 0
    assert not (tmp_path / "mlflow.db").exists()


def test_stopping_what_was_never_started_is_harmless(study: SyntheticStudy, config: TrackingConfig) -> None:
    assert Uploader(study.folder, config).stop(LONG_SECONDS)


@pytest.mark.slow
def test_a_fresh_folder_gets_the_default_store_without_a_word_on_the_terminal(study: SyntheticStudy, tmp_path: Path) -> None:
    study.open()
    study.train(0, candidate(), 0.9, epochs=1)
    study.close()
    command = [sys.executable, "-c", UPLOAD_SCRIPT, str(study.folder.path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert set(StoreContents(f"sqlite:///{tmp_path}/mlflow.db").children()) == {0}


@pytest.mark.slow
def test_a_tracking_server_that_comes_up_late_gets_everything(
    study: SyntheticStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # a server that is starting accepts and says nothing
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = TrackingConfig(uri=f"http://127.0.0.1:{port}")
    uploader = Uploader(study.folder, config, poll_seconds=0.05)
    uploader.start()
    study.open()
    study.train(0, candidate(), 0.9, epochs=2)
    wait_until(lambda: uploader.problem is not None)
    with tracking_server(port, tmp_path):
        study.train(1, candidate(gflops=0.002), 0.95, epochs=2)
        study.close()
        assert uploader.stop(LONG_SECONDS)
        contents = StoreContents(f"http://127.0.0.1:{port}")
        assert set(contents.children()) == {0, 1}
        before = contents.snapshot()
        cursor = rebuild(study.folder, config)
        assert contents.snapshot() == before
        assert len(contents.table(tmp_path)["data"]) == 2
        assert cursor.page.startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs/")


@contextmanager
def tracking_server(port: int, folder: Path) -> Iterator[None]:
    """MLflow's own server, in a process group of its own."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
