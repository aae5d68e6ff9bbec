"""How commands end by a signal or a closed output: the exit code says so."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from cbam_search.cli.ending import ending
from cbam_search.errors import StudyInterrupted


def exit_code(command: Callable[..., None]) -> int:
    with pytest.raises(typer.Exit) as caught:
        ending(command)()
    return int(caught.value.exit_code)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_the_exit_code(number: signal.Signals) -> None:
    assert exit_code(lambda: signal.raise_signal(number)) == 128 + number


def test_a_study_that_nobody_watched_to_its_end_says_how_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        raise StudyInterrupted("study s was stopped. To go on: cbam-search resume s", run="s", exit_code=141)

    assert exit_code(stopped) == 141
    assert capsys.readouterr().err == "study s was stopped. To go on: cbam-search resume s\n"


def test_other_errors_pass() -> None:
    def fails() -> None:
        raise FileNotFoundError("elsewhere")

    with pytest.raises(FileNotFoundError):
        ending(fails)()


def test_typer_sees_the_command_itself() -> None:
    app = typer.Typer(add_completion=False)

    def repeat(word: Annotated[str, typer.Argument(help="What to print.")], times: int = 2) -> None:
        """Print a word."""
        typer.echo(word * times)

    app.command()(ending(repeat))
    result = CliRunner().invoke(app, ["ab", "--times", "3"])
    assert result.output == "ababab\n"


def test_a_reader_who_is_gone_ends_the_command_without_a_word() -> None:
    code = "from cbam_search.cli import main; main()"
    command = subprocess.Popen(
        [sys.executable, "-c", code, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    assert command.stderr.read() == ""
    command.stderr.close()
    assert command.wait() == 141
