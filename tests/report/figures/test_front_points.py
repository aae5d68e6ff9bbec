from __future__ import annotations

import pytest
from synthetic_study import ACCURACY, GFLOPS, PARAMS, complete, ended

from cbam_search.architecture.architecture import Architecture
from cbam_search.records.trials import Origin, TrialState
from cbam_search.report.figures.front_points import Group, plane_of
from cbam_search.report.figures.style import window_on

OBJECTIVES = (ACCURACY, GFLOPS)


def test_first_objective_up_second_across_accuracy_in_per_cent() -> None:
    plane = plane_of([complete(0, 0.9, 0.002)], OBJECTIVES)
    (dot,) = plane.dots
    assert (dot.x, dot.y) == (0.002, 90.0)
    assert plane.y_title == "validation accuracy (%)"
    assert plane.x_title == "GFLOPs (1e9 multiply-adds)"


def test_line_keeps_what_is_reached_until_the_next_member_improves() -> None:
    plane = plane_of([complete(0, 0.97, 0.004), complete(1, 0.9, 0.001), complete(2, 0.8, 0.003)], OBJECTIVES)
    assert plane.line == ((0.001, 90.0), (0.004, 90.0), (0.004, 97.0))


def test_line_with_directions_the_other_way_round() -> None:
    plane = plane_of([complete(0, 0.97, 0.004), complete(1, 0.9, 0.001)], (GFLOPS, ACCURACY))
    assert plane.line == ((97.0, 0.004), (90.0, 0.004), (90.0, 0.001))


def test_three_objectives_are_a_projection_without_a_line() -> None:
    trials = [complete(0, 0.97, 0.004), complete(1, 0.9, 0.001)]
    assert plane_of(trials, (ACCURACY, PARAMS, GFLOPS)).line == ()


def test_one_objective_is_drawn_over_the_trials_with_the_best_so_far() -> None:
    plane = plane_of([complete(0, 0.9, 0.1), complete(1, 0.8, 0.1), complete(3, 0.95, 0.1), complete(4, 0.7, 0.1)], (ACCURACY,))
    assert plane.x_title == "trial"
    assert plane.line == ((0.0, 90.0), (3.0, 90.0), (3.0, 95.0), (4.0, 95.0), (4.0, 95.0))


def test_groups_follow_state_and_rank() -> None:
    trials = [
        complete(0, 0.9, 0.001),
        complete(1, 0.8, 0.002),
        ended(2, TrialState.STOPPED, metrics={"accuracy": 0.99}),
        ended(3, TrialState.STOPPED),
        ended(4, TrialState.FAILED, metrics={"accuracy": 0.99}),
    ]
    groups = {dot.trial.number: dot.group for dot in plane_of(trials, OBJECTIVES).dots}
    assert groups == {0: Group.FRONT, 1: Group.DOMINATED, 2: Group.STOPPED}


def test_published_designs_go_by_name_whoever_proposed_them() -> None:
    named = Architecture.named("cifar_resnet8+se", in_channels=1, classes=10)
    other = named.model_copy(update={"attention": named.attention[1:]})
    trials = [
        complete(0, 0.9, 0.001, architecture=named, origin=Origin.SAMPLER),
        complete(1, 0.95, 0.002, architecture=other),
    ]
    assert [dot.name for dot in plane_of(trials, OBJECTIVES).dots] == ["cifar_resnet8+se", "#1"]


def test_window_holds_complete_trials_and_is_not_widened_by_stopped_ones() -> None:
    complete_ones = [complete(0, 0.9, 0.001), complete(1, 0.95, 0.002)]
    stopped = ended(2, TrialState.STOPPED, metrics={"accuracy": 0.1})
    window = window_on(plane_of([*complete_ones, stopped], OBJECTIVES))
    assert window == window_on(plane_of(complete_ones, OBJECTIVES))
    assert window.y[0] < 90.0 < 95.0 < window.y[1]
    assert 0 <= window.x[0] < 0.001
    assert not window.logarithmic


def test_costs_of_very_different_size_make_the_axis_logarithmic() -> None:
    window = window_on(plane_of([complete(0, 0.9, 0.001), complete(1, 0.95, 0.1)], OBJECTIVES))
    assert window.logarithmic
    assert window.share_x(0.01) == pytest.approx(0.5)
