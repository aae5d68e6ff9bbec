"""The YAML section `tracking`: whether and where MLflow shows the study."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cbam_search.records.config import without_plain_password


class TrackingConfig(BaseModel):
    """MLflow is a view of the records. Nothing is lost without it, and `cbam-search track RUN` makes it at any time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mlflow: bool = Field(default=True, description="log the study to MLflow while it runs")
    uri: str | None = Field(
        default=None,
        min_length=1,
        description="MLflow tracking URI; default $MLFLOW_TRACKING_URI, else the store that `mlflow ui` opens in the folder "
        "where you launch. A password belongs in an environment variable: postgresql://user:${PGPASSWORD}@host/database",
    )
    experiment: str = Field(
        default="cbam-search",
        min_length=1,
        max_length=500,
        description="MLflow experiment that holds the study, and others beside it",
    )

    @field_validator("uri")
    @classmethod
    def _no_plain_password(cls, uri: str | None) -> str | None:
        return without_plain_password(uri)
