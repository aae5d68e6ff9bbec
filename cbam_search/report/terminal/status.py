"""Where studies stand, as text: one of them at length, or all with a line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cbam_search.counted import counted
from cbam_search.metrics import metric
from cbam_search.records.driver import AHEAD_SECONDS, Driver, Standing
from cbam_search.records.status import RunningTrial, StudyState, StudyStatus, UnreadableStudy
from cbam_search.records.trials import TrialState
from cbam_search.report.terminal.next_commands import command_lines
from cbam_search.report.terminal.progress_lines import shortened
from cbam_search.report.wording import duration, hypervolume_text, inline, moment, table
from cbam_search.safe_text import printable, shell_word

_ERROR_LENGTH = 300
_LABEL_WIDTH = 12


def status_text(status: StudyStatus) -> str:
    """One study: who drives it, how far it is, what went wrong last, and what to type next."""
    lines = [headline(status)]
    for label, texts in _facts(status):
        for place, text in enumerate(texts):
            lines.append(f"  {label if place == 0 else '':<{_LABEL_WIDTH}}{text}")
    return "\n".join([*lines, "", *next_lines(status)])


def headline(status: StudyStatus) -> str:
    """`study digits: interrupted: stopped by Ctrl-C`."""
    reason = f": {status.message}" if status.message else ""
    return f"study {printable(status.study)}: {status.state.value}{reason}"


def next_lines(status: StudyStatus) -> list[str]:
    """What to type next, each with what it is for."""
    return command_lines(_next(status))


def under_way_text(status: StudyStatus) -> str:
    """`trial 4 at epoch 2 of 8, trial 5 at epoch 0 of 8`; empty where nothing is in training."""
    return ", ".join(f"trial {trial.trial} at epoch {trial.epoch} of {status.epochs}" for trial in status.running)


def statuses_text(statuses: Sequence[StudyStatus | UnreadableStudy]) -> str:
    """A line a study; those that cannot be read, or whose driver cannot be told, are named below with what to do."""
    rows = [_row(status) for status in statuses if isinstance(status, StudyStatus)]
    lines = list(table(["study", "state", "trainings", "front", "best accuracy", "begun"], rows, names=2)) if rows else []
    for status in statuses:
        if isinstance(status, UnreadableStudy):
            lines.append(f"  {printable(status.study)}: {status.problem}")
        elif status.driver_problem:
            lines.append(f"  {printable(status.study)}: {status.driver_problem}")
        elif status.is_ending:
            lines.append(f"  {printable(status.study)}: {status.message}")
    return "\n".join(lines)


def _row(status: StudyStatus) -> list[str]:
    return [
        printable(status.study),
        status.state.value,
        f"{status.trials_done}/{status.trials_allowed}",
        str(len(status.front)),
        _accuracy(status.best_accuracy),
        moment(status.created_seconds),
    ]


def _facts(status: StudyStatus) -> Iterator[tuple[str, Sequence[str]]]:
    if status.driver_problem:
        yield "driver", [status.driver_problem]
    elif status.driver:
        yield "driver", _driver(status.driver, status.time_seconds)
    yield "trainings", [_trainings(status)]
    limit = f" of at most {duration(3600.0 * status.hours_allowed)}" if status.hours_allowed is not None else ""
    yield "time", [f"driven for {duration(status.driven_seconds)}{limit}{_left(status)}"]
    if status.running:
        yield "running", list(_running(status.running, status.epochs))
    yield "front", [_front(status)]
    if status.last_error:
        whose = f"trial {status.last_error.trial}: " if status.last_error.trial is not None else ""
        words = " ".join(status.last_error.message.split())[:_ERROR_LENGTH]
        yield "last error", [f"{whose}{words} ({moment(status.last_error.time_seconds)})"]


def _driver(driver: Driver, now_seconds: float) -> list[str]:
    record = driver.record
    texts = [f"{record.name}, since {moment(record.since_seconds)}"]
    if record.released_seconds is not None:
        return [f"none since {moment(record.released_seconds)}; the last was {record.name}"]
    ago = now_seconds - record.heartbeat_seconds
    heard = f"{duration(ago)} ago" if ago >= -AHEAD_SECONDS else f"at {moment(record.heartbeat_seconds)} by its own clock"
    gone = "; that process is gone" if driver.standing is Standing.DEAD else ""
    texts.append(f"last sign of life {heard}{gone}")
    if driver.stop:
        texts.append(f"asked to stop at {moment(driver.stop.time_seconds)} by {driver.stop.name}")
    return texts


def _trainings(status: StudyStatus) -> str:
    skipped = f"; skipped: {_counts(status.skipped)}" if status.skipped else ""
    ended = f": {_counts(status.states)}" if status.states else ""
    running = f", {len(status.running)} running" if status.running else ""
    cut_off = f", {status.cut_off} cut off" if status.cut_off else ""
    return f"{status.trials_done} of {status.trials_allowed:,} finished{running}{cut_off}{ended}{skipped}"


def _counts(states: Mapping[TrialState, int]) -> str:
    return ", ".join(f"{states[state]} {state.value}" for state in TrialState if states.get(state))


def _left(status: StudyStatus) -> str:
    if status.state is not StudyState.RUNNING or status.is_ending:
        return ""
    return ", estimating time left" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"


def _running(trials: Sequence[RunningTrial], epochs: int) -> Iterator[str]:
    for trial in trials:
        accuracy = f", {inline('accuracy', trial.accuracy)}" if trial.accuracy is not None else ""
        yield f"trial {trial.trial}: epoch {trial.epoch} of {epochs}{accuracy} - {trial.label}"
        if trial.waits_for:
            yield f"  waits for {trial.waits_for}"
        if trial.died:
            yield f"  attempt {trial.attempt}; its worker died: {shortened(trial.died)}"


def _front(status: StudyStatus) -> str:
    if not status.front:
        return "empty so far"
    best = f", best accuracy {_accuracy(status.best_accuracy)}" if status.best_accuracy is not None else ""
    return f"{counted(len(status.front), 'network')}, hypervolume {hypervolume_text(status.hypervolume)}{best}"


def _accuracy(value: float | None) -> str:
    return "" if value is None else metric("accuracy").text(value)


def _next(status: StudyStatus) -> list[tuple[str, str]]:
    run = shell_word(status.run)
    allowing = " --allow-code" if status.needs_allow_code else ""
    commands = []
    if status.is_ending:
        commands.append((f"cbam-search status {run}", "whether it has ended; `resume` goes on with it then"))
    elif status.state is StudyState.RUNNING:
        commands.append((f"cbam-search logs {run} --follow", "what happens, as it happens"))
        commands.append((f"cbam-search stop {run}", "stop it; what is trained is kept"))
    elif status.state is not StudyState.COMPLETE and status.driver_problem:
        commands.append((f"cbam-search status {run}", "again in a minute; after that, what the line `driver` says"))
    elif status.state is not StudyState.COMPLETE:
        commands.append((f"cbam-search resume {run}{allowing}", "go on where it stopped"))
    if status.last_error and status.last_error.trial is not None:
        commands.append(
            (f"cbam-search logs {run} --trial {status.last_error.trial}", "all about the training that failed last")
        )
    if status.front:
        commands.append(
            (f"cbam-search front {run}", "the front so far" if status.state is not StudyState.COMPLETE else "its front")
        )
    if status.front and status.state is StudyState.COMPLETE:
        commands.append((f"cbam-search export {run} --output best{allowing}", "the network at its knee, as a Python module"))
    return commands
