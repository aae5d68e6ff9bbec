"""The `training:` section of the YAML: one recipe, the same for every candidate of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

Augmentation = Literal["crop", "flip", "cutout"]


class TrainingConfig(BaseModel):
    """How a candidate is trained. Its value is that of its last epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(30, ge=1, le=10_000, description="Passes over the training split.")
    batch_size: int = Field(
        128,
        ge=4,
        le=65_536,
        description="Most images a step. The batches of an epoch are evened out, so that none is much smaller.",
    )
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="SGD with Nesterov momentum, or AdamW.")
    lr: float = Field(
        0.1,
        gt=0,
        le=100,
        description="Peak learning rate, at the end of the warm-up. adamw needs its own, about 0.001 to 0.005.",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; sgd only. 0 is plain SGD.")
    weight_decay: float = Field(
        5e-4,
        ge=0,
        le=1,
        description="On convolution and linear weights, never on norms and biases. Usual: sgd 0.0005, adamw 0.05.",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Probability spread over all classes; training loss only.")
    warmup_epochs: float = Field(
        0.5, ge=0, description="Epochs of linear warm-up, in fractions if need be; a cosine to zero follows."
    )
    augment: tuple[Augmentation, ...] = Field(
        (), description="Augmentations of training batches, in this order. Flip only where mirror images mean the same."
    )
    mixed_precision: Literal["auto", "off"] = Field(
        "auto", description="auto: bfloat16 (float16 on older GPUs) on CUDA, float32 on CPU. off: float32 everywhere."
    )
    gradient_clip_norm: float | None = Field(None, gt=0, description="Largest norm of all gradients together; none by default.")

    @field_validator("augment")
    @classmethod
    def _no_duplicates(cls, augment: Sequence[Augmentation]) -> Sequence[Augmentation]:
        repeated = sorted({name for name in augment if augment.count(name) > 1})
        if repeated:
            raise PydanticCustomError("duplicates", "{names} named more than once", {"names": ", ".join(repeated)})
        return augment

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs:
            raise PydanticCustomError(
                "warmup_too_long",
                "warmup_epochs ({warmup}) must be less than epochs ({epochs})",
                {"warmup": self.warmup_epochs, "epochs": self.epochs},
            )
        if self.optimizer == "adamw" and "lr" not in self.model_fields_set:
            raise PydanticCustomError(
                "lr_missing", "adamw needs its own lr (about 0.001 to 0.005): the default of 0.1 is for sgd"
            )
        return self
