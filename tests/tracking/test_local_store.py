"""MLflow's store in a SQLite file: whatever its folder is called, and when that folder has moved."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow_contents import StoreContents
from sqlalchemy import event
from sqlalchemy.engine import Engine
from synthetic_study import candidate, synthetic_study

from cbam_search.records.folder import StudyFolder
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.local_store import database_of, make_whole, moved
from cbam_search.tracking.rebuild import rebuild


def with_a_study(project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """In MLflow, in a project folder that is the working folder now."""
    project.mkdir()
    shutil.copy(empty_store, project / "mlflow.db")
    monkeypatch.chdir(project)
    study = synthetic_study(project / "studies")
    study.train(0, candidate(), 0.9, epochs=1)
    study.close()
    rebuild(study.folder, TrackingConfig())
    return study.folder


def as_in_another_process() -> None:
    """MLflow remembers where the artifacts of runs are, within one process."""
    mlflow.tracking._tracking_service.utils._artifact_repos_cache.clear()


def fronts(project: Path) -> set[Path]:
    return {path.relative_to(project) for path in project.rglob("front.json") if "mlruns" in path.parts}


@pytest.mark.parametrize(
    "name", ["my%20project", "really?", "a#b", "a b", "c:d", "[x]", "$HOME", "new\nline", "back\\slash", "ü"]
)
def test_store_and_artifacts_lie_in_their_folder_and_nowhere_else(
    name: str, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with_a_study(root / name, empty_store, monkeypatch)
    assert list(root.iterdir()) == [root / name]
    assert len(fronts(root / name)) == 1
    contents = StoreContents(moved("sqlite:///mlflow.db", None))
    assert b"hypervolume" in contents.artifact(contents.parent(), "front.json", tmp_path)


@pytest.mark.parametrize("new_name", ["new", "my%20new?"])
def test_a_store_that_moved_leads_to_its_artifacts_again(
    new_name: str, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / new_name
    folder = with_a_study(old, empty_store, monkeypatch)
    before = fronts(old)
    old.rename(new)
    monkeypatch.chdir(new)
    as_in_another_process()
    notes: list[str] = []
    rebuild(StudyFolder(new / folder.path.relative_to(old)), TrackingConfig(), notes.append)
    assert not old.exists()
    assert fronts(new) == before
    assert len(notes) == 1
    contents = StoreContents(moved("sqlite:///mlflow.db", None))
    assert b"hypervolume" in contents.artifact(contents.parent(), "front.json", tmp_path)
    rebuild(StudyFolder(new / folder.path.relative_to(old)), TrackingConfig(), notes.append)
    assert len(notes) == 1


def test_a_copy_leaves_the_first_one_alone(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    folder = with_a_study(old, empty_store, monkeypatch)
    shutil.copytree(old, new)
    shutil.rmtree(old / "mlruns" / "1")
    monkeypatch.chdir(new)
    as_in_another_process()
    rebuild(StudyFolder(new / folder.path.relative_to(old)), TrackingConfig())
    assert not (old / "mlruns" / "1").exists()


def test_artifacts_kept_apart_from_the_store_stay_where_they_are(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MLflow does where the tracking URI names a file elsewhere."""
    here = tmp_path / "here"
    folder = with_a_study(here, empty_store, monkeypatch)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (here / "mlflow.db").rename(elsewhere / "mlflow.db")
    rebuild(folder, TrackingConfig(uri=f"sqlite:///{elsewhere}/mlflow.db"))
    assert fronts(here)
    assert not (elsewhere / "mlruns").exists()


def test_other_stores_have_no_database_here() -> None:
    for uri in ("http://host:5000", "postgresql://me@host/db", "sqlite://", "sqlite:///:memory:", "databricks"):
        assert database_of(uri) is None
        assert moved(uri, None) == uri


def test_a_signal_while_the_store_is_made_leaves_none_half_made(tmp_path: Path) -> None:
    statements: list[str] = []

    def interrupt(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)
        if statement.startswith("ALTER TABLE"):
            raise KeyboardInterrupt

    event.listen(Engine, "before_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            make_whole(tmp_path / "mlflow.db")
    finally:
        event.remove(Engine, "before_cursor_execute", interrupt)
    assert any(statement.strip().startswith("CREATE TABLE") for statement in statements)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "my%20project", "really?"])
def test_a_store_is_made_once_and_then_left_alone(name: str, tmp_path: Path) -> None:
    database = tmp_path / name / "mlflow.db"
    make_whole(database)
    made = database.read_bytes()
    make_whole(database)
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]
    assert database.read_bytes() == made
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    connection.close()
