"""A project that is renamed or copied keeps its studies' YAML folder; one that stays where it is too."""

from __future__ import annotations

from pathlib import Path

import pytest
from studies import manifest_of

from cbam_search.records.project import Project, project_of


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A project with its YAML in a folder of its own."""
    project = tmp_path / "old"
    (project / "spaces").mkdir(parents=True)
    (project / "spaces" / "s.yaml").touch()
    (project / "studies" / "s").mkdir(parents=True)
    return project


def found(study: Path, old: Path, relative: str | None = "../../spaces", file: str | None = "s.yaml") -> Project:
    manifest = manifest_of().model_copy(
        update={"yaml_folder": str(old / "spaces"), "yaml_folder_from_study": relative, "yaml_file": file}
    )
    return project_of(study, manifest)


def test_a_project_that_stays_is_where_it_was(old: Path) -> None:
    project = found(old / "studies" / "s", old)
    assert project.yaml_folder == old / "spaces"
    assert not project.has_moved
    assert project.path(str(old / "photos")) == str(old / "photos")


def test_a_renamed_project_is_found_with_what_lay_in_it(old: Path) -> None:
    new = old.rename(old.with_name("new"))
    project = found(new / "studies" / "s", old)
    assert (project.yaml_folder, project.old, project.new) == (new / "spaces", old, new)
    assert project.path(str(old / "photos")) == str(new / "photos")
    assert project.path("/elsewhere/photos") == "/elsewhere/photos"


def test_a_copy_reads_its_own_files_unless_their_places_are_absolute(old: Path) -> None:
    new = old.with_name("new")
    (new / "spaces").mkdir(parents=True)
    (new / "spaces" / "s.yaml").touch()
    project = found(new / "studies" / "s", old)
    assert project.yaml_folder == new / "spaces"
    assert project.path(str(old / "photos")) == str(old / "photos")


def test_a_study_that_was_moved_alone_knows_its_yaml_folder(old: Path, tmp_path: Path) -> None:
    (tmp_path / "spaces").mkdir()
    study = tmp_path / "archive" / "s"
    assert found(study, old).yaml_folder == old / "spaces"


def test_a_study_of_0_1_looks_beside_studies_where_its_folder_is_gone(old: Path) -> None:
    new = old.rename(old.with_name("new"))
    assert found(new / "studies" / "s", old, None, None).yaml_folder == new
