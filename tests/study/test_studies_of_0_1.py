"""Studies, tables and caches that version 0.1 made: they say what they said, go on, and can be taken away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import cbam_search
from cbam_search.cli.studies import _front_as_json
from cbam_search.errors import ExportError, NewerStudyError, RecordsError, UserError
from cbam_search.metrics import LATENCY, TEST_ACCURACY, Measured
from cbam_search.records.evaluation_cache import open_cache
from cbam_search.records.events import EpochFinished, StudyExtended, StudyOpened, TrialFinished, TrialStarted
from cbam_search.records.folder import StudyFolder
from cbam_search.records.ledger import read_events
from cbam_search.records.results import read_measured, read_result, take_result
from cbam_search.records.studies import find_study
from cbam_search.records.study_records import open_records
from cbam_search.records.table import read_table
from cbam_search.records.trials import TrialState
from cbam_search.study.config import read_config_of
from cbam_search.study.same_study import check_same_settings
from cbam_search.study.screen import Silence
from cbam_search.study.study import Study, open_study
from cbam_search.study.tabulate import tabulate

MADE_BY_0_1 = Path(__file__).parents[1] / "fixtures" / "made_by_0_1"
EXPECTED: dict[str, Any] = json.loads((MADE_BY_0_1 / "expected.json").read_text(encoding="utf-8"))
NEW_IN_ROWS = {"accuracy_standard_error", "numerics_version"}


def copy_of(name: str) -> StudyFolder:
    """The study under `studies`, here, to be changed."""
    target = Path("studies", name)
    shutil.copytree(MADE_BY_0_1 / name, target)
    return StudyFolder(target.resolve())


def without_new_keys(found: Any) -> Any:
    """What version 0.1 would have said."""
    if isinstance(found, dict):
        return {name: without_new_keys(value) for name, value in found.items() if name not in NEW_IN_ROWS}
    return [without_new_keys(entry) for entry in found] if isinstance(found, list) else found


@pytest.mark.parametrize("name", ["complete", "cut_off", "latency"])
def test_a_front_is_what_it_was(name: str) -> None:
    copy_of(name)
    assert without_new_keys(_front_as_json(open_study(name))) == EXPECTED[name]


def test_a_latency_has_its_spread_as_its_error_and_an_accuracy_the_binomial_one() -> None:
    copy_of("latency")
    study = open_study("latency")
    for trial in study.trials.values():
        assert trial.outcome is not None
        spread = trial.outcome.metrics[LATENCY].standard_error
        assert spread is not None
        assert spread > 0
        accuracy = trial.outcome.metrics["accuracy"]
        assert accuracy.standard_error is not None
        assert accuracy.n == study.manifest.data.validation


def test_opened_for_writing_it_is_brought_up_to_date_and_says_the_same() -> None:
    for name in ("cut_off", "latency"):
        folder = copy_of(name)
        before = open_study(name)
        records = open_records(folder, None)
        records.close()
        assert not (folder.path / "trials").exists()
        assert folder.read_manifest().schema_version == 2
        after = open_study(name)
        assert after.trials == before.trials
        assert after.front == before.front
        assert records.trials == before.trials
    for trial in before.trials.values():
        assert read_measured(folder.measured(trial.evaluation)) == {LATENCY: trial.outcome.metrics[LATENCY]}  # type: ignore[union-attr]


def test_its_view_tells_what_its_ledger_tells() -> None:
    folder = copy_of("latency")
    records = open_records(folder, None)
    for number, trial in records.trials.items():
        assert records.view.epochs_recorded(number) == trial.outcome.epochs  # type: ignore[union-attr]
        assert set(records.view.measured(number)) == {LATENCY}
        assert all(LATENCY not in epoch.metrics for epoch in records.view.epochs(number))
    records.close()


@pytest.mark.slow
def test_a_network_is_taken_away_from_a_study_that_cannot_be_written(tmp_path: Path) -> None:
    folder = copy_of("complete")
    before = sorted(path.relative_to(folder.path) for path in folder.path.rglob("*"))
    study = open_study("complete")
    written = study.export(tmp_path / "best")
    assert (written / "weights.safetensors").is_file()
    # SQLite leaves files of its own beside the database.
    after = sorted(path.relative_to(folder.path) for path in folder.path.rglob("*") if not path.name.startswith("optuna.db-"))
    assert after == before


def test_weights_that_were_not_kept_or_are_damaged_are_refused_by_name(tmp_path: Path) -> None:
    folder = copy_of("complete")
    study = open_study("complete")
    gone = next(number for number in study.trials if number not in study.front.numbers)
    with pytest.raises(ExportError, match=f"the weights of trial {gone} were not kept"):
        study.export(tmp_path / "best", pick=str(gone))
    kept = study.front.numbers[0]
    (folder.path / "trials" / f"{kept:05d}" / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(ExportError, match=rf"the weights of trial {kept} cannot be read: .*weights\.safetensors"):
        study.export(tmp_path / "best", pick=str(kept))
    assert open_study("complete").front == study.front


class TestSettings:
    """What decides a result may not change; what has come since, or decides nothing, may."""

    def check(self, folder: StudyFolder) -> None:
        manifest = folder.read_manifest()
        config = read_config_of(folder)
        check_same_settings(folder, manifest, config)

    def edit(self, path: Path, section: str, **changes: object) -> None:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, value in changes.items():
            settings.setdefault(section, {})[name] = value
        path.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def test_keys_that_have_come_since_are_at_their_defaults_in_both(self) -> None:
        """As though each key with a default had been added after the study was made."""
        folder = copy_of("complete")
        began_with = yaml.safe_load(folder.resolved_yaml.read_text(encoding="utf-8"))
        optional = {
            (section, name)
            for section, settings in began_with.items()
            if isinstance(settings, dict) and section != "objectives"
            for name in settings
            if name not in yaml.safe_load(folder.given_yaml.read_text(encoding="utf-8")).get(section, {})
        }
        assert len(optional) > 30
        for section, name in sorted(optional):
            older = {key: dict(value) if isinstance(value, dict) else value for key, value in began_with.items()}
            del older[section][name]
            folder.resolved_yaml.write_text(yaml.safe_dump(older), encoding="utf-8")
            self.check(folder)

    def test_what_decides_no_result_may_be_edited(self) -> None:
        folder = copy_of("complete")
        self.edit(folder.given_yaml, "search", trials=50, evaluation_cache=True, stop={"hours": 3})
        self.edit(folder.given_yaml, "resources", cpus_per_trial=2.0)
        self.edit(folder.given_yaml, "records", keep="all", keep_gib=5.0, predictions=True)
        self.edit(folder.given_yaml, "tracking", experiment="another")
        self.check(folder)

    @pytest.mark.parametrize(
        ("section", "change"),
        [("training", {"lr": 0.3}), ("search", {"sampler": "random"}), ("attention", {"reduction_ratio": [2]})],
    )
    def test_what_decides_a_result_may_not(self, section: str, change: dict[str, object]) -> None:
        folder = copy_of("complete")
        self.edit(folder.given_yaml, section, **change)
        (name,) = change
        with pytest.raises(UserError, match=rf"was edited since the study began: {section}\.{name}\. "):
            self.check(folder)

    def test_the_seed_may_not(self) -> None:
        folder = copy_of("complete")
        settings = yaml.safe_load(folder.given_yaml.read_text(encoding="utf-8"))
        folder.given_yaml.write_text(yaml.safe_dump({**settings, "seed": 77}), encoding="utf-8")
        with pytest.raises(UserError, match="was edited since the study began: seed"):
            self.check(folder)

    def test_settings_that_this_version_cannot_read_are_said_to_be(self) -> None:
        folder = copy_of("complete")
        self.edit(folder.resolved_yaml, "training", not_a_key=1)
        with pytest.raises(UserError, match=r"made by cbam-search 0\.1\.0, and this version cannot read its settings"):
            self.check(folder)


def test_a_study_of_a_newer_version_is_refused_with_the_version_it_needs() -> None:
    folder = copy_of("complete")
    manifest = json.loads(folder.manifest.read_text(encoding="utf-8"))
    manifest |= {"schema_version": 9, "something_new": 1, "versions": {**manifest["versions"], "cbam-search": "3.2.1"}}
    folder.manifest.write_text(json.dumps(manifest), encoding="utf-8")
    for command in (open_study, cbam_search.resume):
        with pytest.raises(NewerStudyError, match=r"made by cbam-search 3\.2\.1 and needs that version or a newer one"):
            command("complete")
    assert find_study("latest").path == folder.path


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
class TestResumed:
    def test_a_training_goes_on_from_its_checkpoint_and_finished_ones_stay(self) -> None:
        folder = copy_of("cut_off")
        before = open_study("cut_off")
        study = cbam_search.resume("cut_off")
        for number, trial in before.trials.items():
            if trial.outcome is not None:
                assert study.trials[number] == trial
        events = [event for event, _ in read_events(folder.ledger)]
        epochs = [event.epoch for event in events if isinstance(event, EpochFinished) and event.trial == 16]
        assert epochs == [1, 2, 3, 4, 5, 6]
        assert study.trials[16].attempts == 2
        assert study.trials[16].state is TrialState.COMPLETE
        assert sum(trial.was_trained for trial in study.trials.values()) == 14
        ends = [event.trial for event in events if isinstance(event, TrialFinished)]
        assert len(ends) == len(set(ends)) == 14

    def test_under_another_numerics_version_what_was_cut_off_begins_again(self) -> None:
        """As though the sessions before this one had computed otherwise."""
        folder = copy_of("cut_off")
        lines = folder.ledger.read_text(encoding="utf-8").splitlines()
        edited = [line.replace('"resumed"', '"numerics_version":0,"resumed"') for line in lines]
        folder.ledger.write_text("\n".join(edited) + "\n", encoding="utf-8")
        notes: list[str] = []

        class Noting(Silence):
            def note(self, message: str) -> None:
                notes.append(message)

        study = cbam_search.resume("cut_off", screen=Noting())
        assert "2 trainings that were cut off begin again" in notes[0]
        events = [event for event, _ in read_events(folder.ledger)]
        [again] = [event for event in events if isinstance(event, TrialStarted) and event.trial == 16 and event.attempt == 2]
        assert again.anew
        later = events[events.index(again) :]
        assert [event.epoch for event in later if isinstance(event, EpochFinished) and event.trial == 16] == [1, 2, 3, 4, 5, 6]
        assert study.trials[16].state is TrialState.COMPLETE
        opened = [event.numerics_version for event in events if isinstance(event, StudyOpened)]
        assert opened == [0] * (len(opened) - 1) + [1]

    def test_a_finished_study_goes_on_beyond_its_budget(self) -> None:
        folder = copy_of("complete")
        with pytest.raises(UserError, match="6 trainings already, more than the 5 asked for"):
            cbam_search.resume("complete", trials=5)
        study = cbam_search.resume("complete", trials=8, hours=1.5)
        assert trained(study) == 8
        [change] = study.manifest.history
        assert (change.trials, change.hours, change.given) == (8, 1.5, (6, None))
        [event] = [event for event, _ in read_events(folder.ledger) if isinstance(event, StudyExtended)]
        assert (event.trials, event.hours) == (8, 1.5)
        # The same again changes nothing, and trains nothing.
        study = cbam_search.resume("complete")
        assert trained(study) == 8
        assert len(study.manifest.history) == 1
        # The YAML's own budget may be edited, too.
        text = folder.given_yaml.read_text(encoding="utf-8")
        assert "trials: 6" in text
        folder.given_yaml.write_text(text.replace("trials: 6", "trials: 9"), encoding="utf-8")
        study = cbam_search.resume("complete")
        assert trained(study) == 9
        assert [change.trials for change in study.manifest.history] == [8, 9]
        plain = {0, 1, 2}
        kept = {number for number, trial in study.trials.items() if folder.weights(trial.evaluation).exists()}
        assert set(study.front.numbers) <= kept <= set(study.front.numbers) | plain


def trained(study: Study) -> int:
    return sum(trial.was_trained for trial in study.trials.values())


def test_a_damaged_result_is_named_and_the_study_can_be_used() -> None:
    folder = copy_of("cut_off")
    records = open_records(folder, None)
    cut_off = records.trials[17]
    records.close()
    path = folder.result(cut_off.evaluation)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"state": "comp', encoding="utf-8")
    study = open_study("cut_off")
    assert study.front.members
    with pytest.raises(RecordsError, match=rf"{path.name} is damaged"):
        read_result(path)
    assert take_result(path) is None
    assert path.with_name("result.json.damaged").exists()
    assert not path.exists()


class TestCache:
    def test_an_older_cache_is_taken_over(self) -> None:
        shutil.copytree(MADE_BY_0_1 / "evaluation_cache" / "cache", "cache")
        old = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in Path("cache").glob("*.json")}
        cache = open_cache("cache")
        assert cache is not None
        assert cache.problems == ()
        assert not [path for path in Path("cache").glob("*.json") if path.name in old]
        kept = sorted(Path("cache").glob("*.evaluation.json"))
        assert len(kept) == len(old) == 4
        for path in kept:
            document = json.loads(path.read_text(encoding="utf-8"))
            [before] = [entry for entry in old.values() if entry["of"]["architecture"] == document["key"]["architecture"]]
            assert document["key"]["numerics_version"] == 1
            assert "code" not in document["key"]
            assert [epoch["metrics"] for epoch in document["epochs"]] == [epoch["metrics"] for epoch in before["epochs"]]
            assert document["weights"] == before["weights"]
            assert (document["trial"], document["trained_by"]["study"]) == (before["trial"], before["study"])
        again = open_cache("cache")
        assert again is not None
        assert sorted(Path("cache").glob("*.evaluation.json")) == kept

    def test_entries_of_other_code_are_said_to_be_left_aside(self) -> None:
        shutil.copytree(MADE_BY_0_1 / "evaluation_cache" / "cache", "cache")
        for path in sorted(Path("cache").glob("*.json"))[:2]:
            document = json.loads(path.read_text(encoding="utf-8"))
            document["of"]["code"] = "0" * 64
            path.write_text(json.dumps(document), encoding="utf-8")
        damaged = sorted(Path("cache").glob("*.json"))[2]
        damaged.write_text("{", encoding="utf-8")
        cache = open_cache("cache")
        assert cache is not None
        assert len(list(Path("cache").glob("*.evaluation.json"))) == 1
        assert any("2 entries in cache are left aside" in problem for problem in cache.problems)
        assert any(f"{damaged} was left aside: it is damaged" in problem for problem in cache.problems)


class TestTable:
    def test_an_unfinished_table_is_gone_on_with(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for path in (MADE_BY_0_1 / "table").iterdir():
            (shutil.copytree if path.is_dir() else shutil.copy)(path, path.name)
        done: list[Any] = []

        def run(start: Any, tasks: Any, *, workers: int) -> Any:
            work = start(0)
            for task in tasks:
                done.append(task)
                yield task, work(task)

        monkeypatch.setattr("cbam_search.study.tabulate.run_tasks", run)
        made = tabulate("unfinished.yaml", "unfinished.parquet", seeds=2)
        assert made.metadata.complete
        assert (made.trained, len(done)) == (3, 3)
        assert tabulate("table.yaml", "table.parquet", seeds=2).trained == 0

    def test_rows_are_what_they_were(self) -> None:
        table = read_table(MADE_BY_0_1 / "table" / "table.parquet")
        by_cell = {(row["digest"], row["seed"]): row for row in EXPECTED["table"]}
        evaluations = list(table.evaluations())
        assert len(evaluations) == len(by_cell)
        for evaluation in evaluations:
            assert evaluation.architecture is not None
            assert evaluation.outcome is not None
            row = by_cell[evaluation.architecture.digest, evaluation.seed]
            assert evaluation.state.value == row["state"]
            assert [epoch.metrics["accuracy"] for epoch in evaluation.epochs] == row["validation_accuracy"]
            assert evaluation.outcome.metrics[TEST_ACCURACY] == Measured(value=row["test_accuracy"])
