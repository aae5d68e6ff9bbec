"""What stands in a real MLflow store (SQLite) after a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow_contents import StoreContents
from synthetic_study import STARTED_SECONDS, SyntheticStudy, candidate, random_candidates, synthetic_study

from cbam_search.errors import StudyBusyError, UserError
from cbam_search.records.trials import TrialState
from cbam_search.tracking import session as session_module
from cbam_search.tracking.config import TrackingConfig
from cbam_search.tracking.cursor import read_cursor
from cbam_search.tracking.rebuild import rebuild
from cbam_search.tracking.session import Session


def test_parent_run_tells_of_the_study(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, tmp_path: Path
) -> None:
    study.open()
    study.search(14, epochs=2)
    study.skip(14, candidate(), TrialState.DUPLICATE)
    study.close()
    rebuild(study.folder, config)
    run = store.parent()
    assert run.info.run_name == "digits"
    assert (run.info.status, run.info.start_time) == ("FINISHED", int(STARTED_SECONDS * 1000))
    assert run.info.end_time == int(study.now_seconds * 1000)
    assert run.data.params == {"name": "digits", "training.epochs": "8", "attention.kind": '["none", "se"]'}
    assert run.data.tags["data_fingerprint"] == "f" * 64
    assert run.data.tags["version.torch"] == "2.13.0"
    assert run.data.tags["state"] == "trials"
    assert "front.html" in run.data.tags["mlflow.note.content"]
    assert [step for step, _, _ in store.history(run, "hypervolume")] == list(range(1, 15))
    volumes = [value for _, value, _ in store.history(run, "hypervolume")]
    assert volumes == sorted(volumes)
    assert run.data.metrics["trials_complete"] == 14
    assert run.data.metrics["proposals_duplicate"] == 1
    assert store.artifact(run, "study/space.yaml", tmp_path) == study.folder.given_yaml.read_bytes()
    assert store.artifact(run, "study/resolved.yaml", tmp_path) == study.folder.resolved_yaml.read_bytes()
    assert json.loads(store.artifact(run, "study/study.json", tmp_path))["study_id"] == study.manifest.study_id


def test_front_is_beside_the_parent_run_as_table_json_picture_and_page(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, tmp_path: Path
) -> None:
    study.open()
    study.search(14, epochs=1)
    study.close()
    rebuild(study.folder, config)
    run = store.parent()
    table = store.table(tmp_path)
    assert table["columns"][:3] == ["trial", "label", "published"]
    assert len(table["data"]) == 14
    assert json.loads(run.data.tags["mlflow.loggedArtifacts"]) == [{"path": "front_table.json", "type": "table"}]
    front = json.loads(store.artifact(run, "front.json", tmp_path))
    tagged = {trial for trial, child in store.children().items() if child.data.tags["on_front"] == "true"}
    assert {row["trial"] for row in front["front"]} == tagged
    assert len(tagged) == run.data.metrics["front_size"]
    assert front["hypervolume"] == pytest.approx(run.data.metrics["hypervolume"])
    assert store.artifact(run, "front.png", tmp_path).startswith(b"\x89PNG")
    assert b"Plotly.newPlot" in store.artifact(run, "front.html", tmp_path)


def test_table_is_one_that_mlflow_reads(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    study.train(0, candidate(), 0.9, epochs=1)
    cursor = rebuild(study.folder, config)
    frame = store.client.load_table(cursor.experiment_id, "front_table.json")
    assert frame["accuracy"].tolist() == [0.9]


def test_child_run_tells_of_its_trial(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    proposed = random_candidates(14)[13]
    study.train(3, proposed, 0.9, epochs=4)
    rebuild(study.folder, config)
    run = store.child(3)
    assert run.info.run_name == f"3 {proposed.label}"
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == store.parent().info.run_id
    assert run.data.params == {
        "backbone": proposed.architecture.backbone.name,
        "backbone.depth": str(proposed.architecture.backbone.depth),
        "attention.kind": "se",
    }
    assert [step for step, _, _ in store.history(run, "accuracy")] == [1, 2, 3, 4]
    assert run.data.metrics["accuracy"] == 0.9
    assert (run.data.metrics["gflops"], run.data.metrics["params"]) == (proposed.gflops, proposed.params)
    tags = run.data.tags
    assert (tags["state"], tags["on_front"], tags["pareto_rank"], tags["origin"]) == ("complete", "true", "0", "sampler")
    assert tags["digest"] == proposed.digest
    assert "stage 2" in tags["mlflow.note.content"]


def test_very_many_parameters_and_epochs_fit(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    parameters = {f"attention.s{number}.reduction_ratio": number for number in range(270)}
    study.start(0, candidate(), **parameters)
    for epoch in range(1, 301):
        study.epoch(0, epoch, 0.5)
    study.finish(0, epochs=300)
    rebuild(study.folder, config)
    run = store.child(0)
    assert len(run.data.params) == 271
    assert len(store.history(run, "train_loss")) == 300


def test_little_by_little_gives_the_same_as_at_once(
    tmp_path: Path, store: StoreContents, config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = synthetic_study(tmp_path / "studies")
    study.open()
    study.search(7, epochs=2)
    study.close()
    Session(study.folder, TrackingConfig(experiment="at once")).advance()
    study.folder.mlflow_state.unlink()
    monkeypatch.setattr(session_module, "EVENTS_AT_ONCE", 3)
    while Session(study.folder, config).advance():
        pass
    assert store.snapshot() == StoreContents(store.uri, "at once").snapshot()


def test_a_lost_cursor_costs_no_second_run_and_no_second_row(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig
) -> None:
    study.open()
    study.search(4, epochs=3)
    study.close()
    first = rebuild(study.folder, config)
    before = store.snapshot()
    study.folder.mlflow_state.unlink()
    session = Session(study.folder, config)
    while session.advance():
        pass
    assert session.cursor == first
    assert store.snapshot() == before


@pytest.mark.parametrize("call", (1, 2, 3, 4, 5, 7, 8, 9, 12))
def test_a_crash_between_any_two_calls_leaves_nothing_twice(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    study.open()
    study.search(2, epochs=2)
    study.close()
    _crash_after_call(monkeypatch, call)
    with pytest.raises(ConnectionError, match="crash"):
        session = Session(study.folder, config)
        session.advance()
        session.advance()
        pytest.fail(f"there is no call {call}")
    monkeypatch.undo()
    monkeypatch.chdir(study.folder.path.parent.parent)
    session = Session(study.folder, config)
    while session.advance():
        pass
    interrupted = store.snapshot()
    assert set(interrupted) == {"study", "0", "1"}
    Session(study.folder, TrackingConfig(experiment="undisturbed"), anew=True).advance()
    assert interrupted == StoreContents(store.uri, "undisturbed").snapshot()


def _crash_after_call(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The `call`-th call that changes MLflow reaches the store, and its answer never comes back."""
    from mlflow.tracking import MlflowClient

    made = 0

    def crashing(name: str):  # type: ignore[no-untyped-def]
        original = getattr(MlflowClient, name)

        def method(*args, **kwargs):  # type: ignore[no-untyped-def]
            nonlocal made
            made += 1
            result = original(*args, **kwargs)
            if made == call:
                raise ConnectionError("crash")
            return result

        return method

    for name in ("create_experiment", "create_run", "log_batch", "log_artifacts", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, crashing(name))


def test_resuming_goes_on_in_the_same_runs(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    study.open()
    study.train(0, candidate(), 0.9, epochs=1)
    study.start(1, candidate(gflops=0.002))
    study.close("interrupted")
    rebuild(study.folder, config)
    assert (store.parent().info.status, store.child(1).info.status) == ("KILLED", "KILLED")
    resumed = SyntheticStudy(study.folder, study.trials, study.now_seconds)
    resumed.open(resumed=True)
    resumed.start(1, candidate(gflops=0.002), attempt=2)
    Session(study.folder, config).advance()
    assert (store.parent().info.status, store.child(1).info.status) == ("RUNNING", "RUNNING")
    resumed.epoch(1, 1, 0.95)
    resumed.finish(1, accuracy=0.95)
    resumed.close()
    Session(study.folder, config).advance()
    assert len(store.runs()) == 3
    assert (store.parent().info.status, store.child(1).info.status) == ("FINISHED", "FINISHED")
    assert store.parent().info.end_time == int(resumed.now_seconds * 1000)


def test_a_run_deleted_by_hand_is_left_alone_until_the_view_is_rebuilt(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig
) -> None:
    study.train(0, candidate(gflops=0.002), 0.9, epochs=1)
    rebuild(study.folder, config)
    store.client.delete_run(store.child(0).info.run_id)
    study.train(1, candidate(gflops=0.001), 0.95, epochs=1)
    Session(study.folder, config).advance()
    assert set(store.children()) == {1}
    rebuild(study.folder, config)
    assert set(store.children()) == {0, 1}
    assert store.child(0).data.tags["on_front"] == "false"


def test_another_store_gets_everything(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, tmp_path: Path
) -> None:
    study.train(0, candidate(), 0.9, epochs=1)
    rebuild(study.folder, config)
    study.train(1, candidate(gflops=0.002), 0.95, epochs=1)
    other = f"sqlite:///{tmp_path}/other.db"
    (tmp_path / "other.db").write_bytes((tmp_path / "mlflow.db").read_bytes())
    for run in StoreContents(other).runs():
        StoreContents(other).client.delete_run(run.info.run_id)
    Session(study.folder, TrackingConfig(uri=other)).advance()
    assert set(StoreContents(other).children()) == {0, 1}


def test_two_studies_share_an_experiment_without_mixing(store: StoreContents, config: TrackingConfig, tmp_path: Path) -> None:
    for name in ("one", "two"):
        study = synthetic_study(tmp_path / "studies", name)
        study.train(0, candidate(), 0.9, epochs=1)
        rebuild(study.folder, config)
        rebuild(study.folder, config)
    assert len(store.runs()) == 4


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_cursor_tells_no_secret(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.open()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{store.uri}?password=hunter2")
    rebuild(study.folder, config)
    assert "hunter2" not in study.folder.mlflow_state.read_text()
    cursor = read_cursor(study.folder.mlflow_state)
    assert cursor is not None
    assert cursor.server is None
    assert cursor.store == f"{store.uri}?password=***"


def test_a_study_that_is_driven_is_not_rebuilt(study: SyntheticStudy, store: StoreContents, config: TrackingConfig) -> None:
    lock = study.folder.lock()
    with pytest.raises(StudyBusyError):
        rebuild(study.folder, config)
    lock.release()
    rebuild(study.folder, config)


def test_an_unusable_address_is_told_in_one_line(study: SyntheticStudy) -> None:
    with pytest.raises(UserError, match="MLflow did not accept the study") as caught:
        rebuild(study.folder, TrackingConfig(uri="nosuchscheme://host"))
    assert "\n" not in str(caught.value)


def test_a_deleted_experiment_is_told_with_the_remedy(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig
) -> None:
    cursor = rebuild(study.folder, config)
    store.client.delete_experiment(cursor.experiment_id)
    with pytest.raises(UserError, match="mlflow experiments restore --experiment-id 1"):
        rebuild(study.folder, config)


def test_an_experiment_whose_artifacts_only_a_server_takes_is_told(
    study: SyntheticStudy, store: StoreContents, config: TrackingConfig
) -> None:
    store.client.create_experiment("cbam-search", artifact_location="mlflow-artifacts:/1")
    with pytest.raises(UserError, match="tracking server"):
        rebuild(study.folder, config)
