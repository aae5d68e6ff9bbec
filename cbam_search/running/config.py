"""The YAML section `resources`: what one trial may use, and where trials run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ResourcesConfig(BaseModel):
    """Resources of one trial; as many trials run at once as fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus_per_trial: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="CPU cores of one trial")
    gpus_per_trial: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="GPUs of one trial; a fraction lets several share one. Default: 1 where there is a GPU, else 0",
    )
    max_concurrent: int | None = Field(default=None, ge=1, description="most trials at once; default: as many as fit")
    address: str | None = Field(
        default=None, description="address of a Ray cluster; default $RAY_ADDRESS, else Ray is started on this machine"
    )
