"""The YAML section `records`: where a study is kept, and which weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from cbam_search.safe_text import SECRET_WORDS
from cbam_search.variables import VARIABLE

_SECRET_IN_QUERY = re.compile(rf"[?&;][\w.-]*(?:{SECRET_WORDS})=(?!\$\{{)", re.IGNORECASE)


class RecordsConfig(BaseModel):
    """Where the study's records are kept, and which weights."""

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
        default="front",
        description="whose weights to keep. front: every complete trial's while the study goes on; at its end those of the "
        "front and of the bare, SE and CBAM networks on its backbones. all: every complete trial's. none: no trial's",
    )
    keep_gib: float = Field(
        default=2.0,
        gt=0,
        allow_inf_nan=False,
        description="with keep: front, most GiB of weights while the study goes on; the oldest that are far from the front are "
        "removed first",
    )
    predictions: bool = Field(
        default=False,
        description="keep the class that each complete trial gives every validation image, beside its weights",
    )

    @field_validator("storage")
    @classmethod
    def _no_plain_password(cls, url: str | None) -> str | None:
        return without_plain_password(url)


def without_plain_password(url: str | None) -> str | None:
    """The URL itself, unless it carries a password in plain text: the YAML is copied into records and MLflow."""
    if url and holds_plain_password(url):
        raise PydanticCustomError(
            "plain_password", "the URL holds a password in plain text; write ${NAME} there and set that environment variable"
        )
    return url


def holds_plain_password(url: str) -> bool:
    """Whether a secret stands in the URL itself, and not behind a variable: after `user:`, or in the query."""
    # Up to the last @: a password may hold slashes and even an @.
    before_host, at, _ = url.partition("://")[2].rpartition("@")
    _, colon, password = before_host.partition(":")
    plain = bool(at and colon and password and not VARIABLE.fullmatch(password))
    return plain or bool(_SECRET_IN_QUERY.search(url))
