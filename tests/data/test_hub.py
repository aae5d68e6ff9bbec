"""The hub on this machine: one that refuses, is overloaded, does not know the name, or serves a data set."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cbam_search import safe_text
from cbam_search.data import hub_contact
from cbam_search.data.config import DatasetConfig
from cbam_search.data.hub import source_of
from cbam_search.data.hub_contact import bounded_download, reason_with_root
from cbam_search.errors import DataError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILE = "data/train-0.parquet"
TOKEN = "hf_" + "secret" * 5
RUN = """
from cbam_search.data.config import DatasetConfig
from cbam_search.data.load import load
from cbam_search.errors import DataError
try:
    print(load(DatasetConfig(source="hub", name="someone/something"), seed=0).notes)
except DataError as error:
    print("DataError", error)
"""


@contextmanager
def hub(content: bytes, status: int = 200) -> Iterator[str]:
    """Its address. It has one data set, someone/something, of one parquet file; status: of every answer, if not 200."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if status != 200:
                self.answer(b"", status, {"X-Error-Code": "RepoNotFound"} if status == 401 else {})
            elif "/tree/" in path:
                listed = {"type": "file", "path": FILE, "size": len(content), "oid": "a" * 40}
                self.answer(json.dumps([{"type": "directory", "path": "data", "oid": "b" * 40, "size": 0}, listed]).encode())
            elif path.startswith("/api/datasets/"):
                siblings = [{"rfilename": FILE}]
                self.answer(json.dumps({"id": "someone/something", "sha": COMMIT, "siblings": siblings}).encode())
            elif path.endswith(FILE):
                self.answer(content, headers={"ETag": f'"{"c" * 40}"', "X-Repo-Commit": COMMIT})
            else:
                self.answer(b"", 404, {"X-Error-Code": "EntryNotFound"})

        def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), "Content-Type": "application/json", **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def load_from(address: str, home: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-c", RUN],
        check=True,
        capture_output=True,
        text=True,
        cwd=home,
        env=os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "NO_PROXY": "127.0.0.1"},
    )
    assert run.stderr == ""
    assert TOKEN not in run.stdout
    return run.stdout


def test_what_was_downloaded_is_used_while_the_hub_is_away(write_parquet, png, tmp_path) -> None:
    content = Path(write_parquet([png(seed) for seed in range(20)], [0, 1] * 10)).read_bytes()
    with hub(content) as address:
        assert "carved" in load_from(address, tmp_path)
    later = load_from(address, tmp_path)
    assert re.search(r"was not asked for a newer 'someone/something' \(.*Connection refused\)", later)


@pytest.mark.parametrize(
    ("status", "message"), [(503, "it answers 503"), (429, "it answers 429"), (401, "doesn't exist on the Hub")]
)
def test_an_answer_that_is_no_data_set_is_told(tmp_path, status, message) -> None:
    with hub(b"", status) as address:
        answer = load_from(address, tmp_path)
    assert answer.startswith("DataError The data set 'someone/something' could not be loaded from the Hugging Face hub: ")
    assert message in answer


def test_an_address_where_nothing_listens_and_its_password(tmp_path) -> None:
    with hub(b"") as address:
        pass
    answer = load_from(address.replace("//", "//user:sesame@"), tmp_path)
    assert "Connection refused" in answer
    assert "downloaded before" in answer
    assert "sesame" not in answer


def test_an_address_that_never_answers_is_given_up(monkeypatch) -> None:
    from huggingface_hub import constants

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(hub_contact, "_CONTACT_SECONDS", 0.5)
        assert re.search("timed out|no answer within", hub_contact.unreachable("someone/something"))


def test_time_limits_hold_for_the_download_alone() -> None:
    from huggingface_hub import constants

    def settings() -> tuple[float, bool, bool]:
        return constants.HF_HUB_DOWNLOAD_TIMEOUT, constants.HF_HUB_DISABLE_XET, constants.HF_HUB_OFFLINE

    before = settings()
    with bounded_download(offline=True):
        assert constants.HF_HUB_OFFLINE
        assert constants.HF_HUB_DISABLE_XET
        # Six tries, a second apart, of which each is given up after that time.
        assert 6 * constants.HF_HUB_DOWNLOAD_TIMEOUT + 5 < 60
    assert settings() == before


def test_a_token_that_lies_in_a_file_is_hidden(monkeypatch, tmp_path) -> None:
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(safe_text, "_remembered", set())
    (tmp_path / "token").write_text("of no known form")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    assert (
        reason_with_root(ValueError(f"Illegal header value b'Bearer {TOKEN}'; of no known form"))
        == "Illegal header value b'Bearer ***'; ***"
    )


def test_a_damaged_copy_of_the_hub_is_told(png, tmp_path) -> None:
    """What a library of arrow raises while images are read, in the middle of it."""
    import datasets
    import pyarrow as pa

    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"img": [{"bytes": png(row), "path": None} for row in range(20)], "label": [0, 1] * 10}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "copy")
    copy = datasets.load_from_disk(tmp_path / "copy")
    config = DatasetConfig(source="hub", name="someone/something")
    split = source_of(datasets.DatasetDict({"train": copy}), config).splits["train"]
    assert split.name(4) == "someone/something train[4]"

    class Failing:
        def __len__(self) -> int:
            return 20

        data = copy.data

        def select(self, _: object) -> object:
            raise pa.ArrowInvalid("buffer is too short")

    read = split.read.func
    with pytest.raises(
        DataError, match=r"copy of the data set 'someone/something' cannot be read: buffer is too short.*HF_HOME"
    ):
        list(read(Failing(), config, range(20)))
