"""What must be as it was when a study began, for its trials to compare: looked at before it is resumed."""

from __future__ import annotations

from pydantic import BaseModel

from cbam_search.errors import ConfigError, ResourceError, UserError
from cbam_search.identity import differences
from cbam_search.own_code import CodePermission
from cbam_search.own_source import source_digest, source_files
from cbam_search.records.folder import StudyFolder
from cbam_search.records.manifest import StudyManifest
from cbam_search.running.latency_meter import LatencyJob
from cbam_search.space.own_config import OwnBackboneConfig
from cbam_search.study.config import StudyConfig, read_config_of
from cbam_search.study.new_study import latency_summary, weights_digests
from cbam_search.study.preparation import Preparation
from cbam_search.study.space_from_config import code_folder_of


def check_same_settings(folder: StudyFolder, manifest: StudyManifest, config: StudyConfig) -> None:
    """Raise UserError where settings were edited that decide what candidates are and how they are judged.

    Where trials run, how many and what is kept may change. Both YAMLs are read by today's models, so that a key that has come
    since means in both what it does by default.
    """
    try:
        began_with = read_config_of(folder, as_launched=True)
    except ConfigError as error:
        made_by = manifest.versions.get("cbam-search", "another version")
        raise UserError(
            f"study {manifest.name} was made by cbam-search {made_by}, and this version cannot read its settings:\n{error}"
        ) from None
    sections = differences(began_with, config)
    changed = [name for section in sections for name in _changed_in(section, began_with, config)]
    if changed:
        raise UserError(
            f"{folder.given_yaml} was edited since the study began: {', '.join(changed)}. A study keeps its settings; "
            f"put them back, or launch a new study"
        )


def _changed_in(section: str, began_with: StudyConfig, config: StudyConfig) -> list[str]:
    """`training.epochs`, or the section itself where it is no more than one setting."""
    before, now = getattr(began_with, section), getattr(config, section)
    if not isinstance(before, BaseModel) or type(before) is not type(now):
        return [section]
    return [f"{section}.{name}" for name in differences(before, now)]


def check_same_source(manifest: StudyManifest, config: StudyConfig, code: CodePermission) -> None:
    """Raise UserError where the user's own backbone has another source; nothing of it is run. CodeNotAllowedError, too."""
    if not isinstance(config.backbone, OwnBackboneConfig):
        return
    folder = code_folder_of(config.backbone, code)
    if source_digest(config.backbone.module, folder) != manifest.backbone_source:
        files = ", ".join(str(file) for file in source_files(config.backbone.module, folder).values())
        raise UserError(
            f"the source of {config.backbone.module} has changed since study {manifest.name} began ({files}), so that its "
            f"networks would not be the same. Put it back, or launch a new study"
        )


def check_same_data(manifest: StudyManifest, prepared: Preparation) -> None:
    """Raise UserError where the images or their splits are others."""
    if prepared.data.fingerprint != manifest.data.fingerprint:
        raise UserError(
            f"the data of study {manifest.name} have changed since it began (fingerprint {manifest.data.fingerprint[:12]}, "
            f"now {prepared.data.fingerprint[:12]}). Put the old data back, or launch a new study"
        )


def check_same_device(manifest: StudyManifest, latency: LatencyJob | None, config: StudyConfig) -> None:
    """Raise ResourceError where latencies would be measured elsewhere, or otherwise."""
    if latency is None or manifest.latency is None:
        return
    now = latency_summary(latency, config)
    if now != manifest.latency:
        raise ResourceError(
            f"study {manifest.name} measured latencies in {manifest.latency.text}; here they would be in {now.text}, and the "
            f"figures would not compare. Resume it on the same device with the same settings, or launch a new study"
        )


def check_same_weights(manifest: StudyManifest, prepared: Preparation) -> None:
    """Raise UserError where the weights that trainings start from are others."""
    now = weights_digests(prepared)
    changed = [name for name in sorted({*manifest.weights, *now}) if manifest.weights.get(name) != now.get(name)]
    if changed:
        raise UserError(
            f"the weights that study {manifest.name} started from (backbone.weights) have changed since it began, those of "
            f"{', '.join(changed)}. Put the old files back, or launch a new study"
        )
