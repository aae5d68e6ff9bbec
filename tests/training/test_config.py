from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from cbam_search.training.config import TrainingConfig


def test_the_resolved_recipe_reads_back_as_itself() -> None:
    recipe = TrainingConfig(optimizer="adamw", lr=0.002, augment=("crop", "flip"))
    assert TrainingConfig.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 2}, "batch_size"),
        ({"lr": 0.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"momentum": 1.0}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"gradient_clip_norm": 0.0}, "gradient_clip_norm"),
        ({"augment": ("crop", "crop")}, "augment"),
        ({"augment": ("mixup",)}, "augment"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"learning_rate": 0.1}, "learning_rate"),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_its_name(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TrainingConfig(**settings)
    assert {error["loc"][0] for error in refused.value.errors()} == {key}


def test_warmup_leaves_room_for_the_cosine() -> None:
    with pytest.raises(ValidationError, match=r"warmup_epochs \(3\.0\) must be less than epochs \(3\)"):
        TrainingConfig(epochs=3, warmup_epochs=3)


def test_adamw_needs_its_own_learning_rate() -> None:
    with pytest.raises(ValidationError, match="adamw needs its own lr"):
        TrainingConfig(optimizer="adamw")


def test_every_setting_is_described() -> None:
    assert all(field.description for field in TrainingConfig.model_fields.values())


def test_the_config_imports_no_torch() -> None:
    program = "import sys, cbam_search.training.config; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
