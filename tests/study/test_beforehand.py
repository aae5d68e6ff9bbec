"""What a launch refuses before it reads an image: here the data are not there at all, and nobody gets to say so."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import cbam_search
from cbam_search.errors import ResourceError, SpaceError, StudyNotFoundError, UserError, WeightsError

BACKBONE = {"family": "cifar_resnet", "depth": 8}
DATASET = {"source": "parquet", "train": "none.parquet"}
SPACE = {"name": "x", "dataset": DATASET, "backbone": BACKBONE, "resources": {"executor": "inline"}}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"search": {"start_from": "nowhere"}}, StudyNotFoundError, "search.start_from"),
        ({"backbone": BACKBONE | {"weights": "none.pt"}}, WeightsError, r"none\.pt: .*cannot be read: No such file"),
        ({"backbone": BACKBONE | {"weights": "."}}, WeightsError, "cannot be read: Is a directory"),
        ({"records": {"storage": "sqlite:///none/trials.db"}}, UserError, r"records\.storage: there is no folder .*none"),
        ({"tracking": {"uri": "./mlruns"}}, UserError, r"tracking\.uri: \./mlruns is a folder of files"),
        ({"resources": {"executor": "inline", "cpus_per_trial": 100_000}}, ResourceError, "100000 CPUs"),
        ({"dataset": DATASET | {"image_size": 1_000_000}, "resources": {"gpus_per_trial": 0}}, SpaceError, "image_size"),
    ],
)
def test_refused_before_images_are_read(tmp_path: Path, changes: dict[str, object], error: type[UserError], words: str) -> None:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE | changes))
    with pytest.raises(error, match=words):
        cbam_search.launch(tmp_path / "space.yaml")
    assert [entry.name for entry in tmp_path.iterdir()] == ["space.yaml"]
