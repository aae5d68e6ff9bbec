from __future__ import annotations

import os
import subprocess
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cbam_search.safe_text import markdown, presentable, printable, reason, shell_word, without_secrets


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql+psycopg://me:p/w?x#@host/db", "postgresql+psycopg://me:***@host/db"),
        ("redis://:pw@host", "redis://:***@host"),
        ("at http://localhost:5000/a@b and http://h:80?x=a@b", "at http://localhost:5000/a@b and http://h:80?x=a@b"),
        ("https://ghp_abcdefghijklmnop@host/x", "https://***@host/x"),
        ("https://h/x?token=abc&y=1&sig=z%2Fz#f", "https://h/x?token=***&y=1&sig=***#f"),
        ("Authorization: Bearer abc.def, then", "Authorization: Bearer ***, then"),
        ("{'Authorization': 'Basic dXNlcjpwdw=='}", "{'Authorization': 'Basic ***'}"),
        ("password=hunter2 host=x", "password=*** host=x"),
        ("PGPASSWORD='a b c' psql", "PGPASSWORD='***' psql"),
        ('{"password": "hunter2", "b": 1}', '{"password": "***", "b": 1}'),
        (f"with hf_{'a' * 34}.", "with ***."),
        ("postgresql://me:${PGPASSWORD}@host/db?token=${T}", "postgresql://me:${PGPASSWORD}@host/db?token=${T}"),
        ("max_tokens=128, cannot start any token: x", "max_tokens=128, cannot start any token: x"),
    ],
)
def test_secrets_are_hidden_in_every_form_and_other_text_is_not(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert without_secrets(shown) == shown


def test_a_password_that_only_a_url_in_the_environment_holds_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:s%40cret%21@host/db")
    assert without_secrets("FATAL: s@cret! and s%40cret%21") == "FATAL: *** and ***"


def test_a_secret_of_several_lines_is_hidden_on_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_KEY", "-----BEGIN\nabc\n")
    assert reason(ValueError("bad key '-----BEGIN\\nabc\\n'")) == "bad key '***'"


def test_a_secret_is_hidden_before_a_message_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET", "hunter2hunter2")
    assert "hunter" not in reason(ValueError("x" * 195 + "hunter2hunter2"))


ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
PASSWORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_categories=("Cs", "Cc", "Z")), min_size=6)


@given(ANY_TEXT)
def test_whatever_comes_in_a_name_stays_on_one_line_and_obeys_nothing(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown, limit=len(shown)) == shown


@given(ANY_TEXT)
def test_a_whole_text_keeps_its_lines_and_nothing_else_that_a_terminal_obeys(text: str) -> None:
    shown = presentable(text)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert presentable(shown) == shown


@given(password=PASSWORD, scheme=st.sampled_from(["postgresql", "postgresql+psycopg", "https", "mysql+pymysql"]))
def test_no_password_is_left_of_a_url(password: str, scheme: str) -> None:
    quoted = quote(password, safe="")
    assert without_secrets(f"at {scheme}://me:{quoted}@host:1/db now") == f"at {scheme}://me:***@host:1/db now"


@given(password=PASSWORD)
def test_no_secret_of_the_environment_is_left_in_any_form(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME_SECRET", password)
        shown = without_secrets(f"({password}) ({quote(password, safe='')}) ({quote_plus(password)})")
    assert password not in shown or password in "(***) (***) (***)"


@given(ANY_TEXT.filter(lambda text: "\0" not in text))
@settings(deadline=None, max_examples=25)
def test_a_shell_reads_the_word_that_was_meant(text: str) -> None:
    try:
        meant = os.fsencode(text)
    except UnicodeEncodeError:
        return
    word = shell_word(text)
    assert word.isprintable()
    script = f"printf %s {word}"
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout == meant


@given(ANY_TEXT)
@settings(max_examples=50)
def test_markdown_shows_a_text_as_it_is(text: str) -> None:
    shown = printable(text)
    tokens = MarkdownIt("commonmark").enable("table").parseInline(markdown(text))
    children = tokens[0].children or []
    assert {token.type for token in children} <= {"text", "text_special"}
    assert "".join(token.content for token in children).strip() == shown.strip()


@pytest.mark.parametrize(
    "text", ["# a", "- a", "+ a", "1. a", "12) a", "> a", "---", "===", "* a", "```", "<b>a", "a | b", "net(width=0.5)+se"]
)
def test_markdown_is_a_plain_paragraph_also_at_the_start_of_a_line(text: str) -> None:
    blocks = MarkdownIt("commonmark").enable("table").parse(f"before\n\n{markdown(text)}\n")
    assert [block.type for block in blocks if block.nesting >= 0] == ["paragraph_open", "inline"] * 2
    children = blocks[4].children or []
    assert "".join(child.content for child in children) == text


def test_markdown_leaves_alone_what_formats_nothing_there() -> None:
    assert markdown("net(width=0.5)+cbam, layer1.0") == "net(width=0.5)+cbam, layer1.0"
