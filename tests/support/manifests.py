"""Manifests of studies that are made up: every field has a value, and whoever needs another one names it."""

from __future__ import annotations

from cbam_search.records.manifest import DataSummary, StudyManifest


def made_up_manifest(*, train: int, validation: int, test: int, **given: object) -> StudyManifest:
    """Of a study on so many handwritten digits. given: fields of the manifest, by name."""
    data = DataSummary(
        fingerprint="f" * 64,
        train=train,
        validation=validation,
        test=test,
        class_names=tuple("0123456789"),
        channels=1,
        image_size=(8, 8),
        mean=(0.3,),
        std=(0.3,),
        storage="memory",
        notes=(),
    )
    usual = {
        "name": "study",
        "study_id": "a" * 32,
        "created_seconds": 1.0,
        "yaml_folder": "/",
        "versions": {},
        "hardware": "",
        "data": data,
        "distinct_architectures": 1,
        "parameters": 1,
        "published": (),
    }
    return StudyManifest.model_validate(usual | given)
