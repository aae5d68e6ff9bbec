"""The driver's inbox as a Ray actor beside the driver, and a worker's handle of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cbam_search.cost.latency import LatencySetting
from cbam_search.errors import HandoverError
from cbam_search.metrics import Measured
from cbam_search.records.folder import EvaluationFile, StudyFolder
from cbam_search.records.inbox import EvaluationEnd, Inbox, KnownEvaluation
from cbam_search.safe_text import reason
from cbam_search.training.epoch import Epoch


class RemoteInbox:
    """Each call waits until the driver's machine has what it brought. Ray ends the actor with the driver: then calls raise."""

    def __init__(self, actor: ActorHandle[Inbox]) -> None:
        self._actor = actor

    def begin(self, evaluation: str) -> KnownEvaluation:
        return self._call("begin", evaluation)  # type: ignore[no-any-return]

    def revoke(self, evaluation: str) -> None:
        self._call("revoke", evaluation)

    def want_checkpoints(self) -> frozenset[str]:
        return self._call("want_checkpoints")  # type: ignore[no-any-return]

    def checkpoint_wanted(self, evaluation: str, claim: int) -> bool:
        return self._call("checkpoint_wanted", evaluation, claim)  # type: ignore[no-any-return]

    def checkpoint_piece(self, evaluation: str, claim: int, offset: int, size: int) -> bytes:
        return self._call("checkpoint_piece", evaluation, claim, offset, size)  # type: ignore[no-any-return]

    def set_checkpoint_aside(self, evaluation: str, claim: int) -> None:
        self._call("set_checkpoint_aside", evaluation, claim)

    def measured(self, evaluation: str, claim: int, metrics: dict[str, Measured]) -> None:
        self._call("measured", evaluation, claim, metrics)

    def piece(self, evaluation: str, claim: int, file: EvaluationFile, offset: int, content: bytes) -> None:
        self._call("piece", evaluation, claim, file, offset, content)

    def checkpoint(self, evaluation: str, claim: int, epochs: Sequence[Epoch]) -> None:
        self._call("checkpoint", evaluation, claim, epochs)

    def finish(self, evaluation: str, claim: int, end: EvaluationEnd) -> None:
        self._call("finish", evaluation, claim, end)

    def nominal_ms(self, setting: LatencySetting) -> float | None:
        return self._call("nominal_ms", setting)  # type: ignore[no-any-return]

    def keep_nominal_ms(self, setting: LatencySetting, milliseconds: float) -> float:
        return self._call("keep_nominal_ms", setting, milliseconds)  # type: ignore[no-any-return]

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(self._actor, method).remote(*arguments))
        except RayTaskError as error:
            # As it was raised there, without Ray's wrapping.
            raise error.cause from error
        except RayError as error:
            raise HandoverError(f"Ray does not reach the driver's process that takes in results: {reason(error)}") from error


@contextmanager
def inbox_beside_driver(folder: StudyFolder, check: Callable[[], None]) -> Iterator[RemoteInbox]:
    """An inbox on the driver's node, for as long as the driver needs one. check: see `Inbox`; it must pickle."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # One call at a time, in order. Where its process dies it starts anew, and calls are made again: each may be repeated.
    remote: Any = ray.remote(Inbox)
    actor: ActorHandle[Inbox] = remote.options(
        num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1
    ).remote(folder, check)
    try:
        yield RemoteInbox(actor)
    finally:
        with suppress(RayError):  # Ray may be gone by now
            ray.kill(actor)
