"""The YAML section `resources`: what one trial may use, and where trials run."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from cbam_search.errors import ResourceError
from cbam_search.space.choices import OneOf


class ResourcesConfig(BaseModel):
    """Resources of one trial; as many trials run at once as fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    executor: Annotated[str, OneOf("executor", ("ray", "inline"))] = Field(
        default="ray",
        description="ray: Ray Tune, as many trials at once as fit. inline: in the process that you launch, one trial at a "
        "time, for a debugger or a notebook",
    )
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

    @model_validator(mode="after")
    def _settings_of_an_executor(self) -> ResourcesConfig:
        # By value, not by whether it is given: resolved YAML writes defaults out.
        if self.executor == "inline" and self.address is not None:
            raise PydanticCustomError(
                "resources",
                "executor inline starts no Ray and joins none: leave address out, or take executor: ray",
                {"at": ("address",)},
            )
        if self.executor == "inline" and self.max_concurrent is not None:
            raise PydanticCustomError(
                "resources",
                "executor inline runs one trial at a time: leave max_concurrent out, or take executor: ray",
                {"at": ("max_concurrent",)},
            )
        return self

    @property
    def threads(self) -> int:
        """Threads that torch may use in one trial."""
        return max(1, int(self.cpus_per_trial))

    def gpus_of_a_trial(self, gpus: float) -> float:
        """GPUs of one trial where there are so many."""
        return min(1.0, gpus) if self.gpus_per_trial is None else self.gpus_per_trial

    def _fitting(self, cpus: float, gpus: float) -> int:
        """How many trials fit at once into so many CPU cores and GPUs, before max_concurrent."""
        fits = int(cpus / self.cpus_per_trial + 1e-9)
        of_a_trial = self.gpus_of_a_trial(gpus)
        return min(fits, int(gpus / of_a_trial + 1e-9)) if of_a_trial > 0 else fits

    def trials_at_once(self, cpus: float, gpus: float, *, of: str) -> int:
        """How many trials run at once on so many CPU cores and GPUs: one where they run inline.

        of: whose they are, such as "this machine", for the error. Raises ResourceError when not even one trial fits.
        """
        fits = self._fitting(cpus, gpus)
        if fits < 1:
            raise ResourceError(
                f"one trial asks for {self.cpus_per_trial:g} CPUs and {self.gpus_of_a_trial(gpus):g} GPUs, but {of} has "
                f"{cpus:g} CPUs and {gpus:g} GPUs. Lower resources.cpus_per_trial or resources.gpus_per_trial, or add machines"
            )
        return 1 if self.executor == "inline" else min(fits, self.max_concurrent or fits)


def cores_here() -> int:
    """CPU cores of this machine that this process may use: fewer than the machine has where it is held to some of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
