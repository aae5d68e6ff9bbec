"""Sections of a study's YAML that refuse settings which do not go together, at the line of the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.errors import ConfigError
from cbam_search.study.config import read_study_config

DIGITS = "name: x\ndataset: {source: digits}\nbackbone: {family: cifar_resnet, depth: 8}\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("address: auto", "address: executor inline starts no Ray and joins none: leave address out, or take executor: ray"),
        ("max_concurrent: 2", "max_concurrent: executor inline runs one trial at a time: leave max_concurrent out, or take"),
    ],
)
def test_executor_inline_refuses_what_is_rays(tmp_path: Path, setting: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"{DIGITS}resources:\n  {setting}\n  executor: inline\n")
    with pytest.raises(ConfigError) as caught:
        read_study_config(path)
    assert f"space.yaml:5: resources.{message}" in str(caught.value)


def test_what_inline_resolves_to_is_taken_again(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"{DIGITS}resources: {{executor: inline}}\n")
    config, _ = read_study_config(path)
    path.write_text(config.resolved_yaml())
    assert read_study_config(path)[0].resources == config.resources


def test_a_list_of_executors_is_answered_with_the_executors(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(f"{DIGITS}resources: {{executor: [ray]}}\n")
    with pytest.raises(ConfigError, match=r"resources.executor: a list is not allowed: expected one of ray, inline"):
        read_study_config(path)
