"""The folder of studies: a new one is made in it, and one is found again by its name."""

from __future__ import annotations

from pathlib import Path

from cbam_search.errors import CbamSearchError, StudyNotFoundError, UserError
from cbam_search.records.folder import STUDIES_VARIABLE, StudyFolder, studies_folder
from cbam_search.records.manifest import name_problem
from cbam_search.registry import unknown_name
from cbam_search.safe_text import printable, reason


def create_study_folder(parent: Path, name: str) -> StudyFolder:
    """A new folder for `name` in `parent`; a name that is taken gets -2, -3 and so on. Raises UserError."""
    if problem := name_problem(name):
        raise UserError(problem)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return StudyFolder(_free_path(parent, name).resolve())
    except OSError as error:
        raise UserError(
            f"no study can be made in {parent.resolve()}: {reason(error, with_file=False)}. records.folder says where studies "
            f"are kept"
        ) from None


def _free_path(parent: Path, name: str) -> Path:
    attempt = 1
    while True:
        path = parent / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            path.mkdir()
        except FileExistsError:
            attempt += 1
            continue
        return path


def find_study(run: str, parent: Path | None = None) -> StudyFolder:
    """The study that `run` means: `latest`, a folder, or a name in `parent`.

    Raises StudyNotFoundError, and UserError where the folder that it may be in cannot be looked into.
    """
    parent = parent or studies_folder()
    if run != "latest":
        for path in (Path(run), parent / run):
            if _is_study(path):
                return StudyFolder(path.resolve())
    known = studies_in(parent)
    if run == "latest":
        if not known:
            raise StudyNotFoundError(f"there is no study in the folder {parent}. Start one with: cbam-search launch SPACE.yaml")
        return max(known, key=_created_seconds)
    names, shown = tuple(folder.path.name for folder in known), printable(run)
    hint = unknown_name("study", shown, names) if names else f"no study '{shown}', and none at all in {parent}"
    raise StudyNotFoundError(f"{hint}. Give a name, a study's folder, or 'latest'; ${STUDIES_VARIABLE} says where to look")


def _is_study(path: Path) -> bool:
    """Whether this folder holds a study; raises UserError where that may not be looked at."""
    try:
        return (path / "study.json").is_file()
    except PermissionError as error:
        raise UserError(
            f"{printable(path)} may not be looked into: {reason(error, with_file=False)}. Do it as the user who made it, or "
            f"let them allow it"
        ) from None
    except (OSError, ValueError):  # a name that is too long
        return False


def _created_seconds(folder: StudyFolder) -> float:
    try:
        return folder.read_manifest().created_seconds
    except CbamSearchError:
        # A damaged study must not hide the others; named, it is reported.
        return 0.0


def studies_in(parent: Path) -> list[StudyFolder]:
    """The studies of a folder, by name; none where there is no such folder.

    A folder that may not be looked into counts, if a study can have its name. Raises UserError where `parent` cannot be listed.
    """
    try:
        paths = sorted(parent.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"the folder of studies, {parent}, cannot be read: {reason(error, with_file=False)}. ${STUDIES_VARIABLE} says "
            f"where to look"
        ) from None
    return [StudyFolder(path.resolve()) for path in paths if _may_be_study(path)]


def _may_be_study(path: Path) -> bool:
    try:
        return _is_study(path)
    except UserError:
        return name_problem(path.name) is None
