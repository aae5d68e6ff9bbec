"""The fake clock: steps end in its order, and what was stopped takes no time."""

from __future__ import annotations

from cbam_search.architecture import Architecture
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.running.executors.executor import Reported
from cbam_search.running.executors.simulated import SimulatedExecutor, Steps
from cbam_search.running.worker_report import EvaluationTask, WorkerReport
from cbam_search.training.epoch import Epoch

SECONDS = {"fast": 1.0, "slow": 10.0}
EPOCHS = 2


def steps(task: EvaluationTask) -> Steps:
    for number in range(1, EPOCHS + 1):
        ended = Outcome(state=TrialState.COMPLETE, epochs=EPOCHS) if number == EPOCHS else None
        yield SECONDS[task.evaluation], WorkerReport(Epoch(number, {}, 1.0), outcome=ended)


def task(evaluation: str) -> EvaluationTask:
    return EvaluationTask(evaluation, Architecture.named("cifar_resnet8_0.25", in_channels=1, classes=10), seed=0)


def run(executor: SimulatedExecutor) -> list[tuple[str, int, float]]:
    """Evaluation, epoch and time of each event, until nothing runs."""
    happened = []
    while executor.running:
        for event in executor.events(0.0):
            assert isinstance(event, Reported)
            assert event.report.epoch
            happened.append((event.evaluation, event.report.epoch.epoch, executor.clock()))
    return happened


def test_steps_end_in_the_order_of_the_clock() -> None:
    with SimulatedExecutor(steps, workers=2) as executor:
        executor.start(task("slow"))
        executor.start(task("fast"))
        assert run(executor) == [("fast", 1, 1.0), ("fast", 2, 2.0), ("slow", 1, 10.0), ("slow", 2, 20.0)]


def test_a_step_that_was_under_way_when_its_evaluation_was_stopped_takes_no_time() -> None:
    with SimulatedExecutor(steps, workers=2) as executor:
        executor.start(task("slow"))
        executor.start(task("fast"))
        executor.stop("slow")
        assert run(executor) == [("fast", 1, 1.0), ("fast", 2, 2.0)]
        assert list(executor.events(0.0)) == []
        assert executor.clock() == 2.0


def test_what_was_stopped_may_begin_again() -> None:
    with SimulatedExecutor(steps, workers=2) as executor:
        executor.start(task("slow"))
        executor.start(task("fast"))
        executor.events(0.0)
        executor.stop("slow")
        executor.start(task("slow"))
        assert run(executor) == [("fast", 2, 2.0), ("slow", 1, 11.0), ("slow", 2, 21.0)]
