"""The YAML section `records`: where a study is kept, and which weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

_PLAIN_PASSWORD = re.compile(r"://[^/@:]*:(?!\$\{)[^/@]+@")


class RecordsConfig(BaseModel):
    """Where the durable records live."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(
        default=Path("studies"), description="folder that holds one folder a study; relative to where you launch"
    )
    storage: str | None = Field(
        default=None,
        description="Optuna storage URL; default SQLite in the study's folder. A password belongs in an environment variable: "
        "postgresql://user:${PGPASSWORD}@host/database",
    )
    keep: Literal["front", "all", "none"] = Field(
        default="front", description="whose weights to keep after training: members of the front, all trials, or none"
    )

    @field_validator("storage")
    @classmethod
    def _no_plain_password(cls, url: str | None) -> str | None:
        return without_plain_password(url)


def without_plain_password(url: str | None) -> str | None:
    """The URL itself, unless it carries a password in plain text: the YAML is copied into records and MLflow."""
    if url and _PLAIN_PASSWORD.search(url):
        raise PydanticCustomError(
            "plain_password", "the URL holds a password in plain text; write ${NAME} there and set that environment variable"
        )
    return url
