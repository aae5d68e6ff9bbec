"""Real studies that share what they trained: replayed from the cache, and started from another's front."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

import cbam_search
from cbam_search.cli.studies import _front_as_json
from cbam_search.errors import SpaceError, StudyNotFoundError, UserError
from cbam_search.records.events import EpochFinished, StudyClosed
from cbam_search.records.ledger import read_events
from cbam_search.records.trials import Origin
from cbam_search.search.config import SearchConfig
from cbam_search.study.config import read_study_config
from cbam_search.study.study import Study

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
SPACE = {
    "name": "first",
    "dataset": {"source": "digits", "limit": 400},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": [0.25, 0.5]},
    "attention": {"per": "stage"},
    "training": {"epochs": 2, "lr": 0.2, "warmup_epochs": 0},
    "tracking": {"mlflow": False},
}


def write(folder: Path, *, search: dict[str, object], **changes: object) -> Path:
    path = folder / "space.yaml"
    usual = {"trials": 6, "published_backbones": 1, "sampler": "random"}
    path.write_text(yaml.safe_dump(SPACE | changes | {"search": usual | search}))
    return path


def epochs_trained(study: Study) -> int:
    """By this study itself."""
    events = [event for event, _ in read_events(study.folder.ledger)]
    return sum(isinstance(event, EpochFinished) and not event.replayed for event in events)


def front_of(study: Study) -> list[tuple[str, dict[str, float] | None]]:
    return [(trial.candidate.digest, trial.values) for trial in study.front.members]


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
class TestOnRay:
    def test_launched_again_it_trains_nothing_and_has_the_same_front(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = write(tmp_path, search={"evaluation_cache": "cache"})
        first = cbam_search.launch(path)
        assert epochs_trained(first) == 12
        shutil.rmtree(first.folder.evaluations)  # the cache has weights of its own
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        second = cbam_search.launch(path)
        assert epochs_trained(second) == 0
        assert front_of(second) == front_of(first)
        assert second.front.hypervolume == first.front.hypervolume
        closed = [event for event, _ in read_events(second.folder.ledger) if isinstance(event, StudyClosed)]
        assert closed[-1].message == "all 6 trainings are done; 6 of 6 results replayed from study first"
        shown = _front_as_json(second)
        assert shown["replayed"] == {"results": 6, "replayed": 6, "from": {"first": 6}}
        assert all(row["replayed_from"].startswith("first, trial ") for row in shown["front"])
        folder = second.export(tmp_path / "best", pick="best-accuracy")
        assert load_file(folder / "weights.safetensors").keys()
        assert json.loads((folder / "architecture.json").read_text())
        assert torch.isfinite(next(iter(load_file(folder / "weights.safetensors").values()))).all()

    def test_another_seed_is_another_training(self, tmp_path: Path) -> None:
        first = cbam_search.launch(write(tmp_path, search={"trials": 3, "evaluation_cache": "cache"}))
        second = cbam_search.launch(write(tmp_path, search={"trials": 3, "evaluation_cache": "cache"}, seed=1))
        assert epochs_trained(first) == epochs_trained(second) == 6

    def test_a_study_starts_from_anothers_front_and_is_resumed_without_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = cbam_search.launch(write(tmp_path, search={"trials": 5}))
        path = write(
            tmp_path,
            search={"trials": 6, "baselines": [], "start_from": {"run": "latest", "at_most": 2}},
            name="second",
            backbone={"family": "cifar_resnet", "depth": 14, "width": 0.25},
        )
        second = cbam_search.launch(path)
        recorded = second.manifest.warm_start
        assert recorded is not None
        assert recorded.study == "first"
        assert 1 <= len(recorded.members) <= 2
        assert {member.trial for member in recorded.members} <= set(first.front.numbers)
        trained = [trial for trial in second.trials.values() if trial.was_trained]
        warm = [trial for trial in trained if trial.candidate.origin is Origin.WARM_START]
        assert trained[: len(warm)] == warm
        assert [trial.candidate.digest for trial in warm] == [member.architecture.digest for member in recorded.members]
        assert all(trial.candidate.in_space for trial in warm)
        shutil.rmtree(first.folder.path)
        given = second.folder.given_yaml
        given.write_text(given.read_text().replace("search:\n", "search:\n  evaluation_cache: true\n"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))  # a cache may be turned on in between
        assert cbam_search.resume("second").trials == second.trials


def test_no_such_study(tmp_path: Path) -> None:
    with pytest.raises(StudyNotFoundError, match=r"search\.start_from: no study 'nothing', and none at all"):
        cbam_search.launch(write(tmp_path, search={"start_from": "nothing"}))
    assert not (tmp_path / "studies").exists()


def test_mistakes_about_another_study_are_told_before_anything_is_written(
    tmp_path: Path, finished_study: Path, command_line: CommandLine
) -> None:
    shutil.copytree(finished_study / "studies", tmp_path / "studies")
    for name in ("optuna.db", "ledger.jsonl"):
        (tmp_path / "studies" / "tiny" / name).unlink()
    with pytest.raises(UserError, match="study tiny has no complete trial yet"):
        cbam_search.launch(write(tmp_path, search={"start_from": "tiny"}))
    for name in ("optuna.db", "ledger.jsonl"):
        shutil.copy(finished_study / "studies" / "tiny" / name, tmp_path / "studies" / "tiny" / name)
    with pytest.raises(SpaceError, match=r"none of the . designs on the front of study tiny keeps within the constraints"):
        # The narrower backbone is within the bound, and no member is mapped to it.
        cbam_search.launch(
            write(
                tmp_path,
                search={"start_from": "tiny", "baselines": []},
                backbone={"family": "cifar_resnet", "depth": 8, "width": [0.0625, 0.25]},
                constraints={"gflops": {"at_most": 1e-5}},
            )
        )
    with pytest.raises(SpaceError, match="leave no training for it"):
        cbam_search.launch(
            write(
                tmp_path,
                search={"start_from": "tiny", "trials": 1, "baselines": ["none"]},
                backbone={"family": "cifar_resnet", "depth": [8, 14], "width": 0.5},
                attention={"kind": ["se"]},
            )
        )
    refused = command_line("launch", write(tmp_path, search={"start_from": "tinny"}).name, cwd=tmp_path)
    assert refused.returncode == 2
    assert "search.start_from: unknown study 'tinny'. Did you mean 'tiny'?" in refused.stderr
    assert [path.name for path in (tmp_path / "studies").iterdir()] == ["tiny"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("start_from: {rum: tiny}", "search.start_from.rum: unknown key. Did you mean 'run'?"),
        ("start_from: {run: tiny, at_most: 0}", "search.start_from.at_most: 0"),
        ("start_from: [tiny]", "search.start_from: "),
        ("evaluation_cache: 3", "search.evaluation_cache: "),
        *(
            (
                f"evaluation_cache: {word}",
                f"search.evaluation_cache: '{word}' is not allowed. "
                f"Allowed: true, false, or a folder (for a folder of that name: ./{word})",
            )
            for word in ("no", "No", "off", "none", "yes", "ON")
        ),
        (
            "scheduler: {grace_period: 5}",
            "search.scheduler.grace_period: without a kind no trial is stopped early: add kind: pareto_asha or leave it out",
        ),
        (
            "scheduler: {kind: none, grace_period: 3, reduction_factor: 2}",
            "search.scheduler.reduction_factor: without a kind no trial is stopped early: add kind: pareto_asha",
        ),
    ],
)
def test_mistakes_in_the_keys_themselves(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"name: x\ndataset: {{source: digits}}\nbackbone: {{family: resnet, depth: 18}}\nsearch:\n  {line}\n")
    with pytest.raises(UserError) as caught:
        read_study_config(path)
    assert f"space.yaml:5: {told}" in str(caught.value)


def test_a_folder_whose_name_is_such_a_word_and_defaults_written_out_are_taken() -> None:
    SearchConfig.model_validate({"evaluation_cache": "./no"})
    SearchConfig.model_validate({"scheduler": {"kind": "none", "grace_period": 3, "reduction_factor": 3}})
