"""What `logs` says of each event."""

from __future__ import annotations

from pathlib import Path

from architectures import with_attention
from synthetic_study import SyntheticStudy, random_candidates, synthetic_study

from cbam_search.architecture import SeSpec
from cbam_search.metrics import Measured
from cbam_search.records.evaluation import Evaluation
from cbam_search.records.events import (
    ArchitectureMeasured,
    EpochFinished,
    EvaluationFinished,
    StudyExtended,
    TrialSkipped,
    WeightsRemoved,
)
from cbam_search.records.ledger import read_events
from cbam_search.records.trials import Outcome, TrialState
from cbam_search.report.terminal.event_lines import EventLines

PROPOSALS = random_candidates(24)
LABELS = [proposal.label for proposal in PROPOSALS]


def told(study: SyntheticStudy, trial: int | None = None) -> list[str]:
    lines = EventLines(study.manifest, trial=trial)
    return [line for event, _ in read_events(study.folder.ledger) if (line := lines.add(event)) is not None]


def test_the_life_of_a_study(tmp_path: Path) -> None:
    study = synthetic_study(tmp_path)
    study.open()
    study.train(0, PROPOSALS[3], 0.95)
    study.train(1, PROPOSALS[4], 0.96, epochs=8)
    study.train(2, PROPOSALS[5], 0.5)
    study.skip(3, PROPOSALS[5], TrialState.INFEASIBLE)
    study.ledger.append(
        TrialSkipped(
            trial=4,
            candidate=PROPOSALS[3],
            label=LABELS[3],
            digest=PROPOSALS[3].digest,
            outcome=Outcome(state=TrialState.DUPLICATE, duplicate_of=0),
        )
    )
    study.start(5, PROPOSALS[6])
    study.wait(5, "1 CPU")
    study.wait(5, "1 CPU")  # again, as after a crash
    study.wait(5, None)
    study.start(5, PROPOSALS[6], attempt=2, died="Fatal\n error")
    study.epoch(5, 1, 0.4)
    study.open(resumed=True)
    study.start(5, PROPOSALS[6], attempt=3)
    study.finish(5, TrialState.FAILED, accuracy=0.5, epochs=1)
    study.ledger.append(StudyExtended(trials=30, hours=2.5))
    study.ledger.append(WeightsRemoved(trials=(0, 2)))
    study.close("interrupted")
    costs = [f"{proposal.gflops:.4g} GFLOPs" for proposal in PROPOSALS]
    assert [line.partition(", hypervolume")[0] for line in told(study)] == [
        "opened: 24 trainings of 8 epochs",
        f"trial 0 starts - {LABELS[3]}",
        f"trial 0 complete: accuracy 95.00 %, {costs[3]} - {LABELS[3]}, after 8 epochs (0:03)",
        "front of 1",
        f"trial 1 starts - {LABELS[4]}",
        f"trial 1 complete: accuracy 96.00 %, {costs[4]} - {LABELS[4]}, after 8 epochs (0:03)",
        "front of 2",
        f"trial 2 starts - {LABELS[5]}",
        f"trial 2 complete: accuracy 50.00 %, {costs[5]} - {LABELS[5]}, after 8 epochs (0:03)",
        f"trial 3 skipped, infeasible: as told - {LABELS[5]}",
        f"trial 4 skipped, duplicate of trial 0 - {LABELS[3]}",
        f"trial 5 starts - {LABELS[6]}",
        "trial 5 waits for 1 CPU",
        "trial 5 waits no longer",
        f"trial 5 starts again, attempt 2, from its first epoch; its worker died: Fatal error - {LABELS[6]}",
        "resumed, with 3 of 24 trainings finished",
        f"trial 5 goes on, attempt 3: 1 of 8 epochs are recorded - {LABELS[6]}",
        f"trial 5 failed: failed on purpose, accuracy 50.00 % - {LABELS[6]}, after 1 epoch (0:03)",
        "the study may have 30 trainings in all within 2.5 hours",
        "weights removed, to stay within records.keep_gib: trials 0, 2",
        "closed (interrupted): closed: interrupted",
    ]


def test_one_trial_with_its_epochs_and_its_latency(tmp_path: Path) -> None:
    study = synthetic_study(tmp_path)
    study.open()
    study.train(0, PROPOSALS[4], 0.9)
    study.start(1, PROPOSALS[4])
    latency = Measured(value=3.2123, standard_error=0.051, n=9)
    study.ledger.append(ArchitectureMeasured(trial=1, metrics={"latency_ms": latency}))
    study.epoch(0, 8, 0.9)
    study.epoch(1, 1, 0.5)
    study.epoch(1, 1, 0.5)  # again, as after a crash
    study.ledger.append(EpochFinished(trial=1, attempt=1, epoch=2, metrics={"accuracy": 0.75}, seconds=1.25, replayed=True))
    study.finish(1, accuracy=0.95)
    study.train(2, PROPOSALS[3], 0.96)
    study.ledger.append(WeightsRemoved(trials=(1,)))
    assert told(study, trial=1) == [
        f"trial 1 starts - {LABELS[4]}",
        "trial 1 measured: latency 3.21 +/- 0.05 ms",
        "trial 1 epoch 1 of 8: train loss 1, validation loss 1.2, accuracy 50.00 %, learning rate 0.1, 0.4 s",
        "trial 1 epoch 2 of 8: accuracy 75.00 %, 1.2 s, replayed",
        f"trial 1 complete: accuracy 95.00 %, {PROPOSALS[4].gflops:.4g} GFLOPs - {LABELS[4]}, after 8 epochs (0:03)",
        "trial 1 is on the front",
        "trial 1 is no longer on the front",
        "weights of trial 1 removed",
    ]


def test_a_training_with_another_seed(tmp_path: Path) -> None:
    study = synthetic_study(tmp_path)
    study.open()
    study.train(0, PROPOSALS[0], 0.9)
    outcome = Outcome(state=TrialState.COMPLETE, metrics={"accuracy": Measured(value=0.91)}, epochs=8)
    own = PROPOSALS[0].architecture
    other = with_attention(own.backbone, [SeSpec(reduction_ratio=8), None, None])
    for architecture, trial in ((own, 0), (other, None)):
        evaluation = Evaluation(architecture=architecture, seed=5, trial=trial, outcome=outcome)
        study.ledger.append(EvaluationFinished(evaluation=evaluation))
    assert told(study)[-2:] == [
        "trial 0 trained with seed 5: complete, accuracy 91.00 %",
        f"{other.label} trained with seed 5: complete, accuracy 91.00 %",
    ]
    assert told(study, trial=0)[-1] == "trial 0 trained with seed 5: complete, accuracy 91.00 %"
