"""The table file: what is written is read, whole tables and partial ones; what is no table is said to be none."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cbam_search.architecture import Architecture
from cbam_search.errors import RecordsError, StudyBusyError, UserError
from cbam_search.metrics import TEST_ACCURACY, Measured
from cbam_search.records import table as records_table
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.manifest import ObjectiveAxis
from cbam_search.records.table import (
    METADATA_KEY,
    TableData,
    TableEntry,
    TableIdentity,
    TableMetadata,
    TableSession,
    read_table,
    write_table,
)
from cbam_search.records.table_journal import journal_folder, open_journal
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.training.epoch import Epoch

NAMES = ("cifar_resnet8_0.25+se", "cifar_resnet8_0.25", "cifar_resnet8_0.5+cbam")
SEEDS, EPOCHS = (4, 5), 3
IDENTITY = TableIdentity(
    architecture_schema_version=2,
    settings={"seed": 4, "training": {"epochs": EPOCHS}},
    data="d" * 64,
    test="t" * 64,
    device="cpu",
    threads=1,
)
SESSION = TableSession(started_seconds=1.5, hardware="2 cores", versions={"torch": "2"}, workers=2)


def entry_of(name: str) -> TableEntry:
    architecture = Architecture.named(name, in_channels=1, classes=10)
    return TableEntry(
        digest=architecture.digest,
        label=name,
        architecture=architecture.canonical_json,
        parameters=None if name.endswith("cbam") else {"attention.kind": "se", "backbone.width": 0.25},
        published=True,
        gflops=1 / 3e5,
        params=1234,
    )


ENTRIES = tuple(map(entry_of, NAMES))
ARCHITECTURES = {entry.digest: entry.decoded() for entry in ENTRIES}


def training_of(entry: TableEntry, seed: int, *, diverged_in: int | None = None) -> Evaluation:
    sound = EPOCHS if diverged_in is None else diverged_in - 1
    epochs = []
    for place in range(diverged_in or EPOCHS):
        loss, accuracy = (2.0 - place / 4, seed / 8 + place / 64) if place < sound else (math.nan, math.nan)
        seconds = 0.25 * (place + 1)
        epochs.append(Epoch(place + 1, {"train_loss": loss, "accuracy": accuracy}, seconds, seconds / 2))
    return Evaluation(
        architecture=ARCHITECTURES[entry.digest],
        seed=seed,
        epochs=tuple(epochs),
        outcome=Outcome(
            state=TrialState.COMPLETE if diverged_in is None else TrialState.DIVERGED,
            metrics={TEST_ACCURACY: Measured(value=0.875)} if diverged_in is None else {},
            epochs=sound,
            seconds=sum(epoch.seconds for epoch in epochs),
        ),
    )


def metadata_of(*, complete: bool = True) -> TableMetadata:
    return TableMetadata(
        complete=complete,
        name="a",
        seeds=SEEDS,
        epochs=EPOCHS,
        architectures=len(ENTRIES),
        distinct_architectures=27,
        limit=3,
        data=TableData(train=10, validation=5, test=5, class_names=("0", "1"), channels=1, image_size=(8, 8)),
        objectives=(ObjectiveAxis(name="accuracy", direction="max", reference=0.1, ideal=1.0),),
        bounds={"gflops": 0.05},
        identity=IDENTITY,
        sessions=(SESSION,),
        yaml="name: a\n",
        resolved_yaml="name: a\nseed: 4\n",
    )


ALL = [
    training_of(entry, seed, diverged_in=2 if (place, seed) == (1, 5) else None)
    for place, entry in enumerate(ENTRIES)
    for seed in SEEDS
]


def same(left: Evaluation, right: Evaluation) -> bool:
    """Equal, NaN being itself."""
    return left.model_dump_json() == right.model_dump_json()


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, metadata_of(), ENTRIES, reversed(ALL))
    table = read_table(path)
    assert table.metadata == metadata_of()
    assert table.entries == ENTRIES
    assert table.trained.all()
    assert table.validation_accuracy.shape == (3, 2, EPOCHS)
    assert table.rows == {entry.digest: place for place, entry in enumerate(ENTRIES)}
    assert [entry.decoded().label for entry in table.entries] == list(NAMES)
    assert table.validation_accuracy[0, 1].tolist() == [5 / 8, 5 / 8 + 1 / 64, 5 / 8 + 2 / 64]
    assert all(map(same, table.evaluations(), ALL))
    assert [path.name for path in tmp_path.iterdir()] == ["table.parquet"]


def test_a_training_that_diverged_is_in_the_table_with_what_it_took(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", metadata_of(), ENTRIES, ALL)
    table = read_table(tmp_path / "table.parquet")
    assert table.trained[1, 1]
    assert np.isnan(table.test_accuracy).sum() == 1
    assert np.isnan(table.validation_accuracy[1, 1]).tolist() == [False, True, True]
    assert table.seconds[1, 1].tolist() == [0.25, 0.5, 0.0]
    assert table.processor_seconds[1, 1].tolist() == [0.125, 0.25, 0.0]
    states = pq.read_table(tmp_path / "table.parquet").column("state").to_pylist()
    assert states.count("diverged") == 1


def test_what_was_not_trained_yet_is_missing_and_said_to_be(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", metadata_of(complete=False), ENTRIES, ALL[:3])
    table = read_table(tmp_path / "table.parquet")
    assert not table.metadata.complete
    assert table.trained.tolist() == [[True, True], [True, False]]
    assert np.isnan(table.seconds[1, 1]).all()
    assert len(list(table.evaluations())) == 3
    write_table(tmp_path / "table.parquet", metadata_of(complete=False), ENTRIES, [])
    assert read_table(tmp_path / "table.parquet").entries == ()


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    path.write_text("no parquet")
    with pytest.raises(RecordsError, match="not a table"):
        read_table(path)
    pq.write_table(pa.table({"digest": ["a"]}), path)
    with pytest.raises(RecordsError, match="not a table"):
        read_table(path)
    pq.write_table(pa.table({"digest": ["a"]}).replace_schema_metadata({METADATA_KEY: b'{"schema_version": 99}'}), path)
    with pytest.raises(RecordsError, match="schema version 99"):
        read_table(path)
    with pytest.raises(RecordsError, match=r"none\.parquet"):
        read_table(tmp_path / "none.parquet")


def test_a_table_is_read_without_torch(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", metadata_of(), ENTRIES, ALL)
    code = (
        "import sys; from pathlib import Path; from cbam_search.records.table import read_table\n"
        "read_table(Path('table.parquet')).entries[0].decoded()\n"
        "print([name for name in ('torch', 'ray', 'optuna', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestJournal:
    def test_trainings_are_there_again_even_behind_a_torn_line(self, tmp_path: Path) -> None:
        output = tmp_path / "table.parquet"
        with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
            journal.begin(SESSION)
            for training in ALL[:4]:
                journal.add(training)
        file = journal_folder(output) / "trainings.jsonl"
        whole = file.read_bytes()
        for torn in range(1, len(whole.splitlines()[-1]), 7):  # killed within the last line, or just before its end
            file.write_bytes(whole[:-torn])
            with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
                assert list(journal.evaluations) == [(training.architecture.digest, training.seed) for training in ALL[:3]]
                assert journal.sessions == [SESSION]
                journal.add(ALL[3])
            with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
                assert all(map(same, journal.evaluations.values(), ALL[:4]))

    def test_the_table_s_own_trainings_count_too(self, tmp_path: Path) -> None:
        output = tmp_path / "table.parquet"
        write_table(output, metadata_of(complete=False), ENTRIES, ALL[:2])
        with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
            assert len(journal.evaluations) == 2
            assert journal.sessions == [SESSION]
            journal.remove()
            assert journal_folder(output).exists()
        assert not journal_folder(output).exists()

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_disk_is_told_with_the_file(self, tmp_path: Path) -> None:
        output = tmp_path / "table.parquet"
        with (
            pytest.raises(RecordsError, match=r"cannot write .*trainings\.jsonl: No space left"),
            open_journal(output, IDENTITY, ARCHITECTURES) as journal,
        ):
            journal._file = Path("/dev/full").open("ab")  # noqa: SIM115
            journal.add(ALL[0])
        with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
            assert journal.evaluations == {}

    @pytest.mark.parametrize("where", ["journal", "table"])
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"settings": {"seed": 4, "training": {"epochs": 9}}}, "training"),
            ({"settings": {"seed": 5, "training": {"epochs": 3}}}, "seed"),
            ({"data": "e" * 64}, "the images"),
            ({"test": "e" * 64}, "the test images"),
            ({"weights": {"resnet18": "a"}}, "backbone.weights"),
            ({"device": "cuda"}, "device"),
        ],
    )
    def test_another_identity_is_refused(self, tmp_path: Path, where: str, change: dict[str, object], words: str) -> None:
        output = tmp_path / "table.parquet"
        if where == "table":
            write_table(output, metadata_of(), ENTRIES, ALL)
        else:
            with open_journal(output, IDENTITY, ARCHITECTURES):
                pass
        other = TableIdentity.model_validate(IDENTITY.model_dump() | change)
        with (
            pytest.raises(UserError, match=rf"other settings or images: {words}\. "),
            open_journal(output, other, ARCHITECTURES),
        ):
            pass

    def test_one_process_at_a_time(self, tmp_path: Path) -> None:
        with (
            open_journal(tmp_path / "table.parquet", IDENTITY, ARCHITECTURES),
            pytest.raises(StudyBusyError, match="another process"),
            open_journal(tmp_path / "table.parquet", IDENTITY, ARCHITECTURES),
        ):
            pass

    def test_a_damaged_line_is_named(self, tmp_path: Path) -> None:
        output = tmp_path / "table.parquet"
        with open_journal(output, IDENTITY, ARCHITECTURES) as journal:
            journal.add(ALL[0])
        file = journal_folder(output) / "trainings.jsonl"
        file.write_bytes(file.read_bytes().replace(b'"state"', b'"stat"'))
        with pytest.raises(RecordsError, match="line 2"), open_journal(output, IDENTITY, ARCHITECTURES):
            pass


def test_the_page_and_the_module_list_the_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "table.parquet", metadata_of(), ENTRIES, ALL)
    columns = pq.read_schema(tmp_path / "table.parquet").names
    page = Path(__file__).parents[2] / "docs" / "tabulate.md"
    for text in (page.read_text(encoding="utf-8").partition("## The file")[2], records_table.__doc__ or ""):
        assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == columns
