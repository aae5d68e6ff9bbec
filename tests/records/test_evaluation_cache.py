"""The evaluation cache: found by the very same key alone, whole or not there, whoever writes at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cbam_search.errors import UserError
from cbam_search.records.evaluation import Evaluation, EvaluationKey, TrainedBy
from cbam_search.records.evaluation_cache import EvaluationCache, default_folder, link_or_copy, open_cache
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.epoch import Epoch

KEY = EvaluationKey(
    architecture="a" * 64,
    recipe={"epochs": 2, "lr": 0.1, "augment": ["crop"], "mixed_precision": "auto"},
    seed=0,
    data={"fingerprint": "f" * 64, "train": 100, "image_size": [8, 8], "mean": [0.5]},
    weights=None,
    device="cpu",
    precision="float32",
    versions={"torch": "2.13.0"},
)
OTHERS: dict[str, Any] = {
    "key_version": 3,
    "architecture": "b" * 64,
    "recipe": {**KEY.recipe, "augment": ["crop", "flip"]},
    "seed": 1,
    "data": {**KEY.data, "fingerprint": "e" * 64},
    "weights": "9" * 64,
    "device": "NVIDIA H100 80GB HBM3",
    "precision": "mixed",
    "numerics_version": KEY.numerics_version + 1,
    "versions": {"torch": "2.14.0"},
    "source": "d" * 64,
}


def evaluation(key: EvaluationKey = KEY, accuracy: float = 0.9, trial: int = 3) -> Evaluation:
    return Evaluation(
        architecture=None,
        seed=key.seed,
        key=key,
        trial=trial,
        outcome=Outcome(state=TrialState.COMPLETE, metrics={"accuracy": accuracy}, epochs=2, seconds=0.2),
        epochs=tuple(Epoch(epoch=number, metrics={"accuracy": accuracy}, seconds=0.1) for number in (1, 2)),
        weights=None,
        trained_by=TrainedBy(study="first", study_id="1" * 32, hardware="2 cores", versions={"torch": "2.13.0"}),
    )


def weights_file(folder: Path, content: bytes = b"weights") -> Path:
    path = folder / "given.safetensors"
    path.write_bytes(content)
    return path


def test_what_was_kept_is_found(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path / "cache")
    assert cache.find(KEY) is None
    kept = evaluation()
    cache.keep(kept)
    assert cache.find(KEY) == kept
    assert cache.problems == ()


@pytest.mark.parametrize("part", list(OTHERS))
def test_each_part_of_the_key_changed_alone_misses(tmp_path: Path, part: str) -> None:
    cache = EvaluationCache(tmp_path)
    cache.keep(evaluation())
    assert cache.find(KEY.model_copy(update={part: OTHERS[part]})) is None


def test_no_part_of_the_key_is_left_out_above() -> None:
    assert set(OTHERS) == set(EvaluationKey.model_fields)


def test_weights_are_lent_and_outlive_the_study_that_left_them(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path / "cache")
    given = weights_file(tmp_path)
    cache.keep(evaluation(), {"weights": given})
    given.unlink()
    found = cache.find(KEY)
    assert found is not None
    assert cache.lend("weights", found, tmp_path / "trials" / "weights.safetensors")
    assert (tmp_path / "trials" / "weights.safetensors").read_bytes() == b"weights"
    assert not list(tmp_path.rglob(".*"))


def test_weights_that_are_gone_or_damaged_are_not_lent_and_come_back(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path / "cache")
    given = weights_file(tmp_path)
    cache.keep(evaluation(), {"weights": given})
    found = cache.find(KEY)
    assert found is not None
    [stored] = (tmp_path / "cache" / "weights").iterdir()
    for damage in (lambda: stored.unlink(), lambda: (stored.unlink(), stored.write_bytes(b"other"))):
        damage()
        assert not cache.lend("weights", found, tmp_path / "lent")
        cache.keep(evaluation(), {"weights": given})
        assert cache.lend("weights", found, tmp_path / "lent")
    [problem] = cache.problems
    assert str(stored) in problem


def test_a_training_with_weights_replaces_one_without_and_no_other(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path / "cache")
    cache.keep(evaluation(trial=1))
    cache.keep(evaluation(trial=2))
    assert cache.find(KEY).trial == 1
    cache.keep(evaluation(trial=3), {"weights": weights_file(tmp_path)})
    assert cache.find(KEY).trial == 3
    cache.keep(evaluation(trial=4), {"weights": weights_file(tmp_path)})
    assert cache.find(KEY).trial == 3


def test_the_last_digit_of_mean_and_deviation_is_the_processor_s(tmp_path: Path) -> None:
    cache, kept = EvaluationCache(tmp_path), evaluation()
    cache.keep(kept)
    elsewhere = KEY.model_copy(update={"data": {**KEY.data, "mean": [0.5000000000000001]}})
    assert elsewhere != KEY
    assert cache.find(elsewhere) == kept
    assert cache.find(KEY.model_copy(update={"data": {**KEY.data, "mean": [0.50001]}})) is None


def test_a_file_that_is_named_as_before_is_found(tmp_path: Path) -> None:
    key = KEY.model_copy(update={"data": {**KEY.data, "mean": [0.1234567890123]}})
    cache, kept = EvaluationCache(tmp_path), evaluation(key)
    cache.keep(kept)
    cache.path(key).rename(tmp_path / f"{key.digest_of_all_digits}.evaluation.json")
    assert cache.find(key) == kept


@pytest.mark.parametrize("content", ["", "{", '{"key": 1}', "\x00\x00", "[]"])
def test_a_damaged_file_is_left_aside_named_and_replaced(tmp_path: Path, content: str) -> None:
    cache = EvaluationCache(tmp_path)
    cache.keep(evaluation())
    cache.path(KEY).write_text(content)
    assert cache.find(KEY) is None
    [problem] = cache.problems
    assert str(cache.path(KEY)) in problem
    assert "left aside" in problem
    cache.keep(evaluation(trial=5))
    assert cache.find(KEY).trial == 5


def test_a_file_under_the_name_of_another_key_is_not_believed(tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path)
    cache.keep(evaluation())
    other = KEY.model_copy(update={"seed": 1})
    cache.path(KEY).rename(cache.path(other))
    assert cache.find(other) is None
    assert "another training" in cache.problems[0]


WRITER = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_evaluation_cache import KEY, evaluation
from cbam_search.records.evaluation_cache import EvaluationCache
cache = EvaluationCache(Path(sys.argv[1]))
weights = Path(sys.argv[1]) / f"given-{{sys.argv[2]}}"
weights.write_bytes(b"weights" * 1000)
for number in range(60):
    cache.keep(evaluation(KEY.model_copy(update={{"seed": number}}), trial=int(sys.argv[2])), {{"weights": weights}})
    assert cache.find(KEY.model_copy(update={{"seed": number}})) is not None, cache.problems
assert not cache.problems, cache.problems
"""


def test_several_processes_write_the_same_keys(tmp_path: Path) -> None:
    script = WRITER.format(here=str(Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", script, tmp_path, str(number)], stderr=subprocess.PIPE, env=environment)
        for number in range(4)
    ]
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors.decode()
    cache = EvaluationCache(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 60
    assert len(list((tmp_path / "weights").iterdir())) == 1
    for number in range(60):
        found = cache.find(KEY.model_copy(update={"seed": number}))
        assert found is not None
        assert cache.lend("weights", found, tmp_path / "lent")
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_a_folder_that_cannot_be_written_later_costs_nothing_but_time(tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    cache = EvaluationCache(blocked)
    cache.keep(evaluation(), {"weights": weights_file(tmp_path)})
    assert cache.find(KEY) is None
    assert cache.problems


def test_a_folder_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"evaluation_cache: the folder .*file/cache cannot be written"):
        open_cache(str(tmp_path / "file" / "cache"))


def test_true_is_beside_the_other_caches_and_false_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert open_cache(False) is None
    cache = open_cache(True)
    assert cache is not None
    assert cache.folder == default_folder() == tmp_path / "cbam-search" / "evaluations"
    assert list(cache.folder.iterdir()) == []


def test_a_copy_where_no_link_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    link_or_copy(weights_file(tmp_path), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert (tmp_path / "copy").stat().st_nlink == 1
