"""What the pages list is what the code has: tables that would otherwise fall behind it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from cbam_search.architecture import ATTENTION_KINDS, FAMILIES, POOLS, Architecture
from cbam_search.cli.watching import EXIT_CODES
from cbam_search.cost.device_lock import LOCKS_VARIABLE
from cbam_search.cost.latency import LARGE_IMAGE
from cbam_search.data import decoding, folder_listing
from cbam_search.data.config import DatasetConfig
from cbam_search.data.split_names import SPLIT_NAMES
from cbam_search.records.driver import HEARTBEAT_SECONDS, SILENT_SECONDS
from cbam_search.records.events import Event, StudyClosed
from cbam_search.records.folder import StudyFolder
from cbam_search.records.trials import TrialState
from cbam_search.running.conductor import SAME_ERROR_AT_MOST
from cbam_search.running.delivery import PIECE_BYTES
from cbam_search.running.executors.ray_tune import WORKER_DEATHS_AT_MOST
from cbam_search.running.worker import CHECKPOINT_EVERY_SECONDS, TIME_FOR_CHECKPOINTS
from cbam_search.search import telling
from cbam_search.search.proposer import PROPOSALS_WITHOUT_A_NEW_ONE
from cbam_search.search.reference import BEYOND_THE_WORST, FIRST_COMPLETE
from cbam_search.search.sampler_registry import SAMPLERS


def _text(root: Path, page: str) -> str:
    return (root / page).read_text(encoding="utf-8")


def _first_cells(text: str, heading: str) -> list[str]:
    """What stands in backticks in the first column of the tables after `heading`, their heads apart."""
    table = text.partition(f"# {heading}\n")[2].partition("\n## ")[0]
    without_head = re.sub(r"^\|.*\n\| ---", "", table, flags=re.MULTILINE)
    rows = [line.split("|")[1] for line in without_head.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_the_ledger_s_events(root: Path) -> None:
    events = [get_args(event.model_fields["event"].annotation)[0] for event in get_args(get_args(Event)[0])]
    assert _first_cells(_text(root, "docs/records.md"), "Events of the ledger") == events
    for reason in get_args(StudyClosed.model_fields["reason"].annotation):
        assert f"`{reason}`" in _text(root, "docs/records.md")


def test_the_states_of_a_trial(root: Path) -> None:
    assert _first_cells(_text(root, "docs/records.md"), "States of a trial") == list(TrialState)


def test_the_samplers(root: Path) -> None:
    assert _first_cells(_text(root, "docs/samplers.md"), "Samplers") == list(SAMPLERS)


def test_what_samplers_are_told(root: Path) -> None:
    rows = [line for line in (telling.__doc__ or "").splitlines() if line.startswith("| ")]
    assert len(rows) > 5
    for row in rows:
        assert f"{row}\n" in _text(root, "docs/samplers.md")


def test_the_files_of_a_study(root: Path, finished_study: Path) -> None:
    listed = _first_cells(_text(root, "docs/records.md"), "The folder")
    folder = StudyFolder(Path("studies/NAME"))
    named = [folder.given_yaml, folder.resolved_yaml, folder.manifest, folder.database, folder.ledger, folder.mlflow_state]
    named += [folder.log, folder.path / "lock", folder.references, folder.evaluation("ID"), folder.result("ID")]
    named += [folder.measured("ID"), folder.checkpoint("ID"), folder.weights("ID"), folder.predictions("ID")]
    named += [folder.epochs("ID"), folder.error("ID"), folder.lease]
    for path in named:
        assert path.relative_to(folder.path).as_posix() in {entry.rstrip("/") for entry in listed}
    for path in (finished_study / "studies" / "tiny").iterdir():
        assert path.name in {entry.partition("/")[0] for entry in listed} or path.name.startswith("optuna.db-")


def test_the_numbers_of_the_rules(root: Path) -> None:
    page = " ".join(_text(root, "docs/records.md").split())
    assert f"After {PROPOSALS_WITHOUT_A_NEW_ONE:,} proposals without a new" in page
    words = {3: "three"}
    assert f"{words[SAME_ERROR_AT_MOST]} in a row for the same reason" in page
    assert f"at most {words[WORKER_DEATHS_AT_MOST]} times" in page


def test_the_numbers_of_running_a_study(root: Path) -> None:
    page = " ".join(_text(root, "docs/running.md").split())
    assert f"at most every {CHECKPOINT_EVERY_SECONDS:.0f} s" in page
    assert TIME_FOR_CHECKPOINTS == 1 / 20
    assert "at most a twentieth of its time" in page
    assert f"sends {PIECE_BYTES // 2**20} MiB at a time" in page
    assert f"a sign of life every {HEARTBEAT_SECONDS:.0f} s" in page
    assert SILENT_SECONDS == 10 * 60
    assert "silent for ten minutes" in page
    assert f"at most {WORKER_DEATHS_AT_MOST} times" in page
    for state, code in EXIT_CODES.items():
        assert re.search(rf"\| {code} \| (is |was )?{state}", page), state


def test_the_rules_of_latencies(root: Path) -> None:
    page = " ".join(_text(root, "docs/latency.md").split())
    assert f"`cifar_resnet20` for images below {LARGE_IMAGE} pixels, else `resnet18`" in page
    assert f"{BEYOND_THE_WORST} times the slowest complete published design" in page
    assert f"the slowest of the first {FIRST_COMPLETE} complete trials" in page
    assert f"`${LOCKS_VARIABLE}`" in page


def test_the_image_sources_and_their_keys(root: Path) -> None:
    page = _text(root, "docs/data.md")
    sources = get_args(DatasetConfig.model_fields["source"].annotation)
    assert set(sources) <= set(_first_cells(page, "Sources"))
    for suffix in folder_listing.SUFFIXES:
        assert suffix in page
    for name in decoding._FORMATS:
        assert name in page
    for name in SPLIT_NAMES:
        assert name in page


def test_families_kinds_and_poolings(root: Path) -> None:
    page = _text(root, "docs/architecture.md")
    assert sorted(_first_cells(page, "Names of published designs")) == sorted(FAMILIES)
    for name in (*ATTENTION_KINDS, *POOLS):
        assert f"`{name}`" in page
    for name in re.findall(r"`((?:wide_)?(?:cifar_)?resne\w+\d[\w.]*)`", page):
        assert Architecture.named(name).backbone.name == name
