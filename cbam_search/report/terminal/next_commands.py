"""What to say when a study ends, and the commands to type next."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cbam_search.records.config import holds_plain_password
from cbam_search.records.events import StudyClosed
from cbam_search.records.front import Front
from cbam_search.safe_text import shell_word
from cbam_search.variables import VARIABLE

_PARTS = re.compile(r"\$\{\w+\}|(?:(?!\$\{\w+\}).)+", re.DOTALL)
_PLAIN = re.compile(r"[\w@%+=:,./?&-]+", re.ASCII)


def closing_sentence(event: StudyClosed, run: str) -> str:
    """Why the study ended, and what that means, in a sentence or two."""
    match event.reason:
        case "trials" | "hours" | "epochs" | "hypervolume":
            return f"Study {run} is complete: {event.message}."
        case "space_exhausted":
            return f"Study {run} is complete: {event.message}. To go further, widen the space and launch a new study."
        case "interrupted":
            return f"Study {run} was {event.message}. Finished trials are kept; `resume` continues from here."
        case "failed":
            return (
                f"Study {run} stopped because of an error: {event.message}. Finished trials are kept; "
                f"once the cause is fixed, `resume` continues from here."
            )


def next_commands(
    run: str,
    front: Front,
    *,
    closed: StudyClosed | None = None,
    mlflow: bool = True,
    tracking_uri: str | None = None,
    page: str = "http://127.0.0.1:5000",
    allow_code: bool = False,
) -> list[str]:
    """Commands, each with a comment that says what it is for; ready for a shell.

    run: as the user would give it. closed: how the study ended, if it just did. mlflow, tracking_uri: whether the study is
    logged to MLflow, and where, None for MLflow's default. page: the study's page on the server that `mlflow ui` starts.
    allow_code: whether the study needs that.
    """
    name = shell_word(run)
    allowing = " --allow-code" if allow_code else ""
    commands = []
    if closed is not None and closed.reason in ("interrupted", "failed"):
        commands.append((f"cbam-search resume {name}{allowing}", "go on where it stopped"))
    if front.members:
        commands.append((f"cbam-search front {name}", "this front again"))
        commands.append((f"cbam-search export {name} --output best{allowing}", "the network at its knee, as a Python module"))
    if mlflow:
        commands.append(_mlflow_command(tracking_uri, page))
    return command_lines(commands)


def command_lines(commands: Sequence[tuple[str, str]]) -> list[str]:
    """Commands and what each is for, one below the other, ready for a shell."""
    width = max((len(command) for command, _ in commands), default=0)
    return [f"{command:<{width}}  # {purpose}" for command, purpose in commands]


def _with_variables(uri: str) -> str:
    """For a shell: it fills in `${NAME}`, and takes everything else as it stands."""
    parts = _PARTS.findall(uri)
    if all(VARIABLE.fullmatch(part) or _PLAIN.fullmatch(part) for part in parts):
        return f'"{uri}"' if "${" in uri else uri
    return "".join(f'"{part}"' if VARIABLE.fullmatch(part) else shell_word(part) for part in parts)


def _mlflow_command(uri: str | None, page: str) -> tuple[str, str]:
    if uri is None:
        return "mlflow ui", f"then open {page}"
    if uri.startswith(("http://", "https://")) and not holds_plain_password(uri):
        return "", f"curves and fronts are at {uri}"
    if not re.match(r"(sqlite|postgresql|mysql|mssql|file)\b", uri):
        return "", "curves and fronts are on the MLflow server of $MLFLOW_TRACKING_URI"
    store = '"$MLFLOW_TRACKING_URI"' if holds_plain_password(uri) else _with_variables(uri)
    return f"mlflow ui --backend-store-uri {store}", f"then open {page}"
