from __future__ import annotations

from pathlib import Path

import pytest

from cbam_search.safe_text import printable, reason, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Kätzchen 猫", "Kätzchen 猫"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("gpj.\u202egnp", "gpj.\\u202egnp"),
        ("caf\udce9", "caf\\udce9"),
    ],
)
def test_printable_escapes_what_a_terminal_would_obey(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_cuts_off_and_counts() -> None:
    assert printable("x" * 1_500, limit=10) == "xxxxxxxxxx… (1,490 more characters)"


def test_a_password_in_a_url_is_hidden() -> None:
    text = "cannot reach postgresql://me:p@ss:word@host:5432/db, nor https://host/page?q=a:b"
    assert without_secrets(text) == "cannot reach postgresql://me:***@host:5432/db, nor https://host/page?q=a:b"


def test_the_values_of_secret_variables_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abc/123")
    monkeypatch.setenv("DB_PW", "postgres")
    monkeypatch.setenv("SOME_TOKEN", "abc")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "certainly")
    text = "postgresql said abc certainly to hf_abc/123 (hf_abc%2F123) of postgres"
    assert without_secrets(text) == "postgresql said abc certainly to *** (***) of ***"


def test_the_working_folder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/home/me/work")
    monkeypatch.setenv("OLDPWD", "/home/me/work")
    assert without_secrets("in /home/me/work") == "in /home/me/work"


def test_reason_of_a_system_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / "no\nthing").read_text()
    assert reason(caught.value) == f"No such file or directory: {tmp_path}/no\\nthing"


def test_reason_of_another_error_is_its_first_line() -> None:
    assert reason(ValueError("first\nsecond")) == "first"
    assert reason(KeyError()) == "KeyError"
