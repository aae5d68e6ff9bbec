from __future__ import annotations

import pytest
from synthetic_study import ACCURACY, GFLOPS, complete

from cbam_search.records.events import StudyClosed
from cbam_search.records.front import Front, front_of
from cbam_search.report.terminal.next_commands import closing_sentence, next_commands

FRONT = front_of([complete(0, 0.9, 0.001)], (ACCURACY, GFLOPS))
EMPTY: Front = front_of([], (ACCURACY, GFLOPS))


def closed(reason: str, message: str = "") -> StudyClosed:
    return StudyClosed(reason=reason, message=message)  # type: ignore[arg-type]


def commands(lines: list[str]) -> list[str]:
    return [line.split("#")[0].strip() for line in lines]


def test_after_a_complete_study() -> None:
    assert commands(next_commands("digits", FRONT, closed=closed("trials"))) == [
        "cbam-search front digits",
        "cbam-search export digits --output best",
        "mlflow ui",
    ]


@pytest.mark.parametrize("reason", ["interrupted", "failed"])
def test_resume_comes_first_where_there_is_something_to_resume(reason: str) -> None:
    assert commands(next_commands("digits", EMPTY, closed=closed(reason), mlflow=False)) == ["cbam-search resume digits"]
    assert commands(next_commands("digits", FRONT, closed=closed(reason)))[0] == "cbam-search resume digits"


def test_names_are_quoted_for_the_shell() -> None:
    assert "'my studies/a'" in next_commands("my studies/a", FRONT)[0]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////data/my.db", "mlflow ui --backend-store-uri sqlite:////data/my.db"),
        ("postgresql://me:${PGPASSWORD}@db/x", 'mlflow ui --backend-store-uri "postgresql://me:${PGPASSWORD}@db/x"'),
        ("postgresql://me:secret@db/x", 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'),
        ('sqlite:///${HOME}/a"$(x) b.db', """mlflow ui --backend-store-uri sqlite:///"${HOME}"'/a"$(x) b.db'"""),
        ("sqlite:///a b.db", "mlflow ui --backend-store-uri 'sqlite:///a b.db'"),
        ("postgresql+psycopg2://db/x", "mlflow ui --backend-store-uri postgresql+psycopg2://db/x"),
    ],
)
def test_a_store_of_its_own_is_named(uri: str, expected: str) -> None:
    assert commands(next_commands("digits", EMPTY, tracking_uri=uri)) == [expected]


def test_a_server_is_pointed_to() -> None:
    (line,) = next_commands("digits", EMPTY, tracking_uri="http://mlflow:5000")
    assert line.strip() == "# curves and fronts are at http://mlflow:5000"
    (line,) = next_commands("digits", EMPTY, tracking_uri="https://me:secret@mlflow")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        ("trials", "all 24 trainings are done", "Study digits is complete: all 24 trainings are done."),
        ("space_exhausted", "no new feasible architecture is left after 17 trainings", "widen the space"),
        ("interrupted", "stopped by Ctrl-C", "Study digits was stopped by Ctrl-C. Finished trials are kept"),
        ("hours", "search.stop.hours, 8, are over", "Study digits is complete: search.stop.hours, 8, are over."),
        ("failed", "3 trials failed for the same reason", "error: 3 trials failed for the same reason. Finished"),
    ],
)
def test_closing_says_why_and_what_that_means(reason: str, message: str, words: str) -> None:
    assert words in closing_sentence(closed(reason, message), "digits")
