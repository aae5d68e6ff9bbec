"""Where a study's YAML lay, found again when the project was renamed, copied or moved to another machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cbam_search.records.manifest import StudyManifest


@dataclass(frozen=True)
class Project:
    """yaml_folder: where relative paths of the study's YAML start. old, new: the project's folder at launch and now."""

    yaml_folder: Path
    old: Path
    new: Path

    @property
    def has_moved(self) -> bool:
        return self.old != self.new

    def path(self, path: str) -> str:
        """The same path; where it lay in a project folder that is gone, its place in the new one."""
        if not self.has_moved or not Path(path).is_relative_to(self.old) or self.old.exists():
            return path
        return str(self.new / Path(path).relative_to(self.old))


def project_of(study: Path, manifest: StudyManifest) -> Project:
    """study: the study's folder, as it is now.

    The YAML's folder is, in this order: its place relative to the study, if the YAML is there; the folder it lay in at launch;
    where that is gone, the relative place all the same. Version 0.1 kept no relative place: its studies lie in `studies`,
    beside the YAML.
    """
    remembered = Path(manifest.yaml_folder)
    relative = manifest.yaml_folder_from_study
    beside = Path(os.path.normpath(study / ("../.." if relative is None else relative)))
    is_there = relative is not None and manifest.yaml_file is not None and (beside / manifest.yaml_file).is_file()
    if beside == remembered or not (is_there or (beside.is_dir() and not remembered.is_dir())):
        return Project(remembered, remembered, remembered)
    old, new = remembered, beside
    # The folders that kept their names below the one that did not.
    while old.name == new.name and old.name and new.name:
        old, new = old.parent, new.parent
    return Project(beside, old, new)
