"""Where the memory-mapped cache cannot be written or read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from permissions import unprivileged

from cbam_search.data.cache import CacheWriter, default_folder
from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.errors import DataError


@pytest.fixture
def config(cifar_file, tmp_path) -> DatasetConfig:
    return DatasetConfig(
        source="parquet", train=str(cifar_file), memory_limit_gib=1e-6, cache_folder=str(tmp_path / "cache"), test_fraction=0
    )


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        ("file", "File exists"),
        ("file/below", "Not a directory"),
        ("link", "File exists"),
        ("x" * 300, "name too long"),
        ("a\0b", "null"),
    ],
)
def test_a_folder_that_cannot_be_made_is_named(config, tmp_path, folder, why) -> None:
    (tmp_path / "file").write_text("here")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "x")
    with pytest.raises(DataError, match=rf"cache in .* cannot be written: .*{why}.*Set dataset\.cache_folder"):
        load(config.model_copy(update={"cache_folder": str(tmp_path / folder)}), seed=0)


RUN = """
import resource, sys
from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.errors import DataError
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
try:
    load(DatasetConfig.model_validate_json(sys.argv[1]), seed=0)
except DataError as error:
    print(error)
"""


def error_of(config: DatasetConfig, *arguments: str, before: tuple[str, ...] = ()) -> str:
    command = [*before, sys.executable, "-c", RUN, config.model_dump_json(), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_folder_that_may_not_be_written_is_named(config, tmp_path) -> None:
    (tmp_path / "cache").mkdir(mode=0o500)
    assert f"Permission denied: {tmp_path / 'cache'}" in error_of(config, before=unprivileged())


def test_no_room_for_the_arrays_is_told_before_they_are_written(config, tmp_path) -> None:
    """A file may not grow beyond 100 KB: as for a full disk, the space is asked for at once."""
    error = error_of(config, "100000")
    assert f"The memory-mapped cache in {tmp_path / 'cache'} cannot be written: " in error
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare to mount a small disk")
def test_a_disk_that_is_full_is_told_in_words(config, tmp_path) -> None:
    """Between the look at the free space and the writing, something else took it."""
    (tmp_path / "cache").mkdir()
    mount = f'mount -t tmpfs -o size=300k tmpfs {tmp_path / "cache"} && exec "$@"'
    before = ("unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", mount, "sh")
    if subprocess.run([*before, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    lying = "import shutil, types; shutil.disk_usage = lambda _: types.SimpleNamespace(free=10**9)\n"
    run = subprocess.run(
        [*before, sys.executable, "-c", lying + RUN, config.model_dump_json()], check=True, capture_output=True, text=True
    )
    assert "cannot be written: No space left on device" in run.stdout


def test_space_is_reserved_where_the_file_system_cannot_do_it_itself(tmp_path, monkeypatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    with CacheWriter(tmp_path / "entry", 0) as writer:
        images = writer.allocate("train", (3, 1, 5, 7))
        assert images.shape == (3, 1, 5, 7)
        assert Path(images.filename).stat().st_size == 105
        assert not images.any()
    assert list(tmp_path.iterdir()) == []


DAMAGE = [b"", b"garbage\xff", b"[]", b"{}", b'{"shapes": 3}', b'{"shapes": {"train": ["a"]}, "class_names": []}']


@pytest.mark.parametrize("name", ["data.json", "train.u8", "train_labels.npy", "validation_labels.npy"])
def test_a_damaged_entry_is_made_again(config, tmp_path, name) -> None:
    fingerprint = load(config, seed=0).fingerprint
    (entry,) = (tmp_path / "cache").iterdir()
    for content in DAMAGE:
        (entry / name).write_bytes(content)
        assert load(config, seed=0).fingerprint == fingerprint
        assert (entry / name).read_bytes() != content
        assert list((tmp_path / "cache").iterdir()) == [entry]


def test_an_entry_with_labels_that_have_no_class_or_that_is_a_file_is_made_again(config, tmp_path) -> None:
    fingerprint = load(config, seed=0).fingerprint
    (entry,) = (tmp_path / "cache").iterdir()
    np.save(entry / "train_labels.npy", np.full(json.loads((entry / "data.json").read_text())["shapes"]["train"][0], 10))
    assert load(config, seed=0).train.labels.max() == 9
    shutil.rmtree(entry)
    entry.write_text("a file")
    assert load(config, seed=0).fingerprint == fingerprint
    assert list((tmp_path / "cache").iterdir()) == [entry]


def test_without_a_home_folder_the_reader_learns_what_to_set(monkeypatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match=r"no home folder.* set dataset\.cache_folder"):
        default_folder()
