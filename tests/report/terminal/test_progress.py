from __future__ import annotations

import io
import itertools
import re
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from synthetic_study import SyntheticStudy, complete, random_candidates, synthetic_study, view_of

from cbam_search.records.events import FrontUpdated, TrialFinished, TrialStarted
from cbam_search.records.trials import Outcome, Trial, TrialState
from cbam_search.records.view import StudyView
from cbam_search.report.tally import Tally
from cbam_search.report.terminal.live_view import LiveView
from cbam_search.report.terminal.progress import Progress

SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


@pytest.fixture
def study(tmp_path: Path) -> SyntheticStudy:
    return synthetic_study(tmp_path)


def followed(study: SyntheticStudy, *trials: Trial) -> StudyView:
    """What these trials and the events from now on come to."""
    view = view_of(trials, study.manifest)
    study.ledger.subscribe(view.apply)
    return view


def piped() -> Console:
    return Console(file=io.StringIO(), width=80)


def terminal(width: int = 100, height: int = 30) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system="truecolor")


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def picture(tally: Tally, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(LiveView(tally, concurrent=2, started_seconds=0.0))
    return text_of(console).splitlines()


def test_a_line_a_finished_trial_where_there_is_no_terminal(study: SyntheticStudy) -> None:
    console = piped()
    proposals = random_candidates(15)
    with Progress(study.manifest, followed(study), console=console, concurrent=2) as progress:
        study.ledger.subscribe(progress)
        study.open()
        study.train(0, proposals[0], 0.95)
        study.train(1, proposals[3], 0.9)
        study.skip(2, proposals[3], TrialState.DUPLICATE)
        study.start(3, proposals[14])
        study.epoch(3, 1, 0.5)
        study.finish(3, TrialState.FAILED, epochs=1)
        study.close()
    header, first, second, third, end = text_of(console).splitlines()
    assert header == "study digits: 24 trainings of 8 epochs, 2 at a time, on 1,437 images, validated on 180"
    assert first.startswith(
        "[1/24] trial 0 complete: accuracy 95.00 %, 0.0008 GFLOPs - cifar_resnet8_0.5 (published, on the front); hypervolume 0."
    )
    assert first.endswith(" left")
    assert "on the front" not in second
    label = proposals[14].label
    assert "[" in label
    assert third.startswith(f"[3/24] trial 3 failed: failed on purpose, accuracy 90.00 % - {label};")
    assert re.match(r"3 of 24 trainings finished, 0:0\d elapsed: 2 complete, 1 failed; skipped: 1 duplicate; front of 1, ", end)
    assert "\x1b" not in text_of(console)


def test_a_stopped_trial_says_at_which_epoch_and_why(study: SyntheticStudy) -> None:
    console = piped()
    proposal = random_candidates(1)[0]
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.start(0, proposal)
        reason = "at epoch 3, not among the best 4 of 14 there"
        outcome = Outcome(state=TrialState.STOPPED, metrics={"accuracy": 0.55}, epochs=3, reason=reason)
        study.ledger.append(TrialFinished(trial=0, outcome=outcome))
        study.ledger.append(FrontUpdated(front=(), hypervolume=0.0, changed=False, complete=0))
    _, line, end = text_of(console).splitlines()
    assert line.startswith(f"[1/24] trial 0 stopped: {reason}, accuracy 55.00 % - {proposal.label}")
    assert "0 complete, 1 stopped" in end


def test_a_resumed_study_counts_on(study: SyntheticStudy) -> None:
    console = piped()
    with Progress(study.manifest, followed(study, complete(0, 0.9, 0.001)), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.train(1, random_candidates(1)[0], 0.95)
    lines = text_of(console).splitlines()
    assert lines[0].endswith("; 1 finished before")
    assert lines[1].startswith("[2/24] trial 1 complete")


def test_a_dumb_terminal_gets_plain_lines(study: SyntheticStudy) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200, _environ={"TERM": "dumb"})
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.train(0, random_candidates(1)[0], 0.9)
    assert "[1/24] trial 0 complete" in text_of(console)
    assert "\x1b" not in text_of(console)


def test_a_terminal_is_left_clean_after_ctrl_c(study: SyntheticStudy) -> None:
    console = terminal()
    out, err = sys.stdout, sys.stderr
    with pytest.raises(KeyboardInterrupt), Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.train(0, random_candidates(1)[0], 0.9)
        raise KeyboardInterrupt
    written = text_of(console)
    assert written.rfind(SHOW_CURSOR) > written.rfind(HIDE_CURSOR) >= 0
    assert (sys.stdout, sys.stderr) == (out, err)
    after = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written[written.rfind(SHOW_CURSOR) :])
    assert after.strip().startswith("1 of 24 trainings finished")


def test_a_failure_stays_readable_on_a_terminal(study: SyntheticStudy) -> None:
    console = terminal()
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.start(0, random_candidates(1)[0])
        study.finish(0, TrialState.FAILED)
    assert "trial 0 failed: failed on purpose" in text_of(console)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_trial_that_lost_its_worker_is_said_to_go_on(study: SyntheticStudy, is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, height=30, color_system=None)
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        proposal = random_candidates(1)[0]
        study.start(4, proposal)
        study.start(4, proposal, attempt=2)
        study.epoch(4, 1, 0.5)
        study.epoch(4, 2, 0.5)
        study.start(4, proposal, attempt=3)
    text = text_of(console)
    assert "trial 4 starts again, attempt 2, from its first epoch" in text
    assert "trial 4 goes on, attempt 3: 2 of 8 epochs are recorded" in text
    assert text.count("attempt") == 2


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_reason_is_printed_as_it_is_on_one_line(study: SyntheticStudy, is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=200, height=30, color_system=None)
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.start(0, random_candidates(1)[0])
        failed = Outcome(state=TrialState.FAILED, reason="RuntimeError: [red]\n  [/bold] :smile:")
        study.ledger.append(TrialFinished(trial=0, outcome=failed))
        study.ledger.append(FrontUpdated(front=(), hypervolume=0.0, changed=False, complete=0))
    assert "trial 0 failed: RuntimeError: [red] [/bold] :smile:" in text_of(console)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_wait_is_said_once(study: SyntheticStudy, is_terminal: bool) -> None:
    console = terminal() if is_terminal else piped()
    proposals = random_candidates(15)
    with Progress(study.manifest, followed(study), console=console, concurrent=2) as progress:
        study.ledger.subscribe(progress)
        study.open()
        for number in (0, 1):
            study.start(number, proposals[number])
            study.wait(number, "1 CPU")
            study.wait(number, None)
        study.wait(1, "1 GPU")
    assert text_of(console).count("waits for 1 CPU") == text_of(console).count("trial 1 waits for 1 GPU") == 1


def test_no_color_is_respected(study: SyntheticStudy) -> None:
    console = Console(
        file=io.StringIO(), force_terminal=True, width=100, height=30, _environ={"NO_COLOR": "1", "TERM": "xterm"}
    )
    with Progress(study.manifest, followed(study), console=console, concurrent=1) as progress:
        study.ledger.subscribe(progress)
        study.train(0, random_candidates(1)[0], 0.9)
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|38;)[0-9;]*m", text_of(console))


@pytest.fixture
def busy(study: SyntheticStudy) -> Tally:
    """15 trials on the front, 12 in training."""
    tally = Tally(study.manifest, followed(study))
    proposals = random_candidates(27)
    for number in range(15):
        cost = {"gflops": 0.001 * (number + 1)}
        study.train(number, proposals[number].model_copy(update=cost), 0.8 + 0.01 * number)
    for number in range(15, 27):
        study.start(number, proposals[number])
        study.epoch(number, 3, 0.5)
    assert len(tally.view.front) == 15
    return tally


def test_the_picture_shows_bar_counts_running_trials_and_front(busy: Tally) -> None:
    lines = picture(busy, 100, 40)
    assert lines[0].startswith("15/24 ")
    assert lines[0].endswith(" left")
    assert lines[1].strip() == "12 running, 15 complete, 0 stopped, 0 failed"
    running = [line for line in lines if " 3/8 " in line]
    assert len(running) == 12
    front = lines[next(index for index, line in enumerate(lines) if line.startswith("  front")) :]
    assert "hypervolume 0." in front[0]
    assert "5 of 15 not shown" in front[0]
    assert front[1].split()[:4] == ["0", "80.00", "%", "0.001"]
    assert front[1].rstrip().endswith("published")
    assert front[10].split()[:3] == ["14", "94.00", "%"]


def test_the_picture_fits_any_terminal(busy: Tally) -> None:
    for width, height in itertools.product((20, 60, 80, 200), (1, 2, 3, 5, 6, 8, 10, 12, 24, 60)):
        lines = picture(busy, width, height)
        assert 1 <= len(lines) <= max(1, height - 1)
        assert max(map(len, lines)) <= width


def test_nothing_to_show_yet(study: SyntheticStudy) -> None:
    lines = picture(Tally(study.manifest, followed(study)), 80, 24)
    assert lines[0].endswith("estimating")
    assert lines[1].strip() == "0 running, 0 complete, 0 stopped, 0 failed"
    assert len(lines) == 2


def test_drawing_and_events_do_not_disturb_each_other(study: SyntheticStudy) -> None:
    proposed = random_candidates(1)[0]
    common = {"attempt": 1, "candidate": proposed, "label": proposed.label, "digest": proposed.digest, "parameters": {}}
    started = [TrialStarted(trial=number, **common) for number in range(4000)]
    tally, done = Tally(study.manifest, view_of([], study.manifest)), threading.Event()
    shown = LiveView(tally, concurrent=4, started_seconds=0.0)
    errors: list[Exception] = []

    def draw() -> None:
        while not done.is_set():
            try:
                terminal().print(shown)
            except Exception as error:
                errors.append(error)

    drawing = threading.Thread(target=draw)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        drawing.start()
        for event in started:
            tally.view.apply(event)
    finally:
        done.set()
        drawing.join()
        sys.setswitchinterval(interval)
    assert not errors
