"""A project folder that was renamed: its studies go on, and say what to edit where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import cbam_search
from cbam_search.errors import DataError, UserError
from cbam_search.study.config import StudyConfig, read_study_config, without_secret_comments
from cbam_search.study.places import require_utf8
from cbam_search.study.yaml_file import parse_yaml

STUDY = {
    "name": "s",
    "dataset": {"source": "image_folder", "path": "photos", "validation_fraction": 0.3},
    "backbone": {"family": "cifar_resnet", "depth": 8, "width": [0.25]},
    "attention": {"kind": ["none", "se"]},
    "training": {"epochs": 1, "batch_size": 16},
    "search": {"trials": 1, "sampler": "random", "baselines": ["none"]},
    "resources": {"executor": "inline"},
    "tracking": {"mlflow": False},
}


def make_project(folder: Path) -> None:
    """Twelve images of each of two classes, and the YAML beside them."""
    draws = np.random.default_rng(0)
    for label, name in enumerate(("cat", "dog")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draws.integers(0, 90, (16, 16, 3), dtype=np.uint8)
            pixels[..., label] += 120
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    (folder / "s.yaml").write_text(yaml.safe_dump(STUDY))


@pytest.mark.slow
def test_a_renamed_project_goes_on_and_missing_images_are_named_with_what_to_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new [1] 50%"
    make_project(old)
    monkeypatch.chdir(old)
    first = cbam_search.launch("s.yaml")
    old.rename(new)
    monkeypatch.chdir(new)
    assert cbam_search.open_study("s").trials == first.trials
    resumed = cbam_search.resume("s", trials=2)
    assert len([trial for trial in resumed.trials.values() if trial.was_trained]) == 2

    (new / "photos").rename(new / "pictures")
    with pytest.raises(DataError, match=r"dataset\.path: there is no .*/photos\. .* under dataset\.path in .*/s/space\.yaml"):
        cbam_search.resume("s", trials=3)
    given = resumed.folder.given_yaml
    given.write_text(given.read_text().replace("photos", "pictures"))
    assert cbam_search.resume("s", trials=2).trials == resumed.trials
    assert not old.exists()


def test_a_pattern_is_read_in_a_folder_whose_name_looks_like_one(tmp_path: Path) -> None:
    folder = tmp_path / "[x]*"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.parquet").touch()
    settings = STUDY | {"dataset": {"source": "parquet", "train": "data/*.parquet", "validation": "data/a.parquet"}}
    (folder / "s.yaml").write_text(yaml.safe_dump(settings))
    config, _ = read_study_config(folder / "s.yaml")
    assert [path for pattern in config.dataset.files("train") for path in Path("/").glob(pattern[1:])] == [
        folder / "data" / "a.parquet"
    ]
    assert config.dataset.validation == str(folder / "data" / "a.parquet")


def test_a_name_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UserError, match=r"caf\\udce9 has a name that is not UTF-8"):
        require_utf8(Path("/here"), Path("/caf\udce9"))


def test_the_copy_of_the_yaml_keeps_no_password_in_a_comment() -> None:
    text = yaml.safe_dump(STUDY) + "# was postgresql://me:hunter2@host/db\n"
    kept = without_secret_comments(text)
    assert "hunter2" not in kept
    assert parse_yaml(kept, "", StudyConfig) == parse_yaml(text, "", StudyConfig)


def test_what_looks_like_a_secret_and_is_a_setting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "image_folder")
    text = yaml.safe_dump(STUDY)
    assert without_secret_comments(text) == text
