"""`search.start_from`, resolved at launch: which study, which of its front, and what that is in this study's space."""

from __future__ import annotations

from dataclasses import dataclass

from cbam_search.errors import SpaceError, StudyNotFoundError, UserError
from cbam_search.records.manifest import WarmStart, WarmStartMember
from cbam_search.records.studies import find_study
from cbam_search.search.evenly_spaced import evenly_spaced
from cbam_search.search.feasibility import excess
from cbam_search.search.warm_start import WarmStartMapping
from cbam_search.study.preparation import Preparation
from cbam_search.study.study import Study, read_study


@dataclass(frozen=True)
class ResolvedWarmStart:
    """What is recorded, and what the reader should know of it, in a sentence."""

    recorded: WarmStart
    note: str


def resolve_warm_start(prepared: Preparation) -> ResolvedWarmStart | None:
    """None where nothing is asked for.

    Raises StudyNotFoundError, UserError where that study has no front yet, and SpaceError where nothing of it can be trained
    here.
    """
    asked = prepared.config.search.warm_start
    if asked is None:
        return None
    study = study_to_start_from(asked.run)
    members, infeasible = _mapped(study, prepared)
    found = len(study.front.members)
    if infeasible == found:
        raise SpaceError(
            f"search.start_from: none of the {found} designs on the front of study {study.name} keeps within the constraints "
            f"here, after they were mapped into this space. Loosen the constraints, or leave start_from out"
        )
    room = prepared.config.search.trials - len(prepared.published.trained)
    if members and room < 1:
        raise SpaceError(
            f"search.start_from: the {len(prepared.published.trained)} published designs leave no training for it. "
            f"Raise search.trials, or leave start_from out"
        )
    chosen = [members[index] for index in evenly_spaced(len(members), min(asked.at_most, room))] if members else []
    reasons = {
        "beyond the constraints": infeasible,
        "trained anyway, or the same as another here": found - infeasible - len(members),
        f"above start_from.at_most ({asked.at_most}) or the trainings left ({room})": len(members) - len(chosen),
    }
    left_out = "; ".join(f"{number} left out: {reason}" for reason, number in reasons.items() if number)
    return ResolvedWarmStart(
        WarmStart(study=study.name, study_id=study.manifest.study_id, members=tuple(chosen)),
        f"starts from {len(chosen)} of {found} designs on the front of study {study.name}"
        + (f" ({left_out})" if left_out else ""),
    )


def study_to_start_from(run: str) -> Study:
    """The study that `search.start_from` names, which has a front; raises StudyNotFoundError, UserError."""
    try:
        study = read_study(find_study(run))
    except StudyNotFoundError as error:
        raise StudyNotFoundError(f"search.start_from: {error}") from None
    if not study.front.members:
        raise UserError(
            f"search.start_from: study {study.name} has no complete trial yet, so that it has no front to start from. Wait for "
            f"it, resume it, or name another study"
        )
    return study


def _mapped(study: Study, prepared: Preparation) -> tuple[list[WarmStartMember], int]:
    """Its front in this study's space, each design once and without those that are trained anyway; and how many of the front
    are beyond the constraints there.
    """
    mapping = WarmStartMapping(prepared.space)
    known = {design.digest for design in prepared.published.trained}
    members: list[WarmStartMember] = []
    infeasible = 0
    for trial in study.front.members:
        design = mapping.map(trial.candidate.architecture)
        if excess(prepared.cost.cost(design), prepared.bounds) > 0:
            infeasible += 1
        elif design.digest not in known:
            known.add(design.digest)
            members.append(WarmStartMember(architecture=design, trial=trial.number))
    return members, infeasible
