"""Why a worker of Ray's died: what Ray says of it, and what its process wrote last, on whichever node."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import ray._private.worker as ray_worker
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cbam_search.running.last_words import WorkerDeath, death_of, end_of_file

ANSWER_WITHIN_SECONDS = 5.0

_PROCESS = re.compile(r"^\s*pid: (\d+)$", re.MULTILINE)
_ADDRESS = re.compile(r"^\s*ip: (\S+)$", re.MULTILINE)
_LOW_MEMORY = re.compile(r"[^\n]*\b(low on memory|OutOfMemory|memory usage threshold)\b[^\n]*", re.IGNORECASE)
_EXIT_CODE = re.compile(r"exits? with an? exit code ([^\n]*?)\.?$", re.MULTILINE)

_WITHOUT_A_WORD = "its process ended without a word: it was killed, often for want of memory, or left by os._exit"


def death_in_words(told: str) -> WorkerDeath:
    """told: the text of Ray's error. Asks the node where it happened, for ANSWER_WITHIN_SECONDS at most."""
    if "creation task" in told:
        return death_of(told, "its worker could not be started")
    if "node has died" in told or "node was terminated" in told:
        return WorkerDeath("its node died, or is out of reach", death_of(told, "").details)
    if found := _LOW_MEMORY.search(_without_common_causes(told)):
        return WorkerDeath("Ray ended its worker, as the node was low on memory", death_of(found[0], "").details)
    process, address = _PROCESS.search(told), _ADDRESS.search(told)
    written = _written_by(int(process[1]), address[1]) if process and address else ""
    code = _EXIT_CODE.search(told)
    death = death_of(written, f"its process ended with exit code {code[1]}" if code else _WITHOUT_A_WORD)
    return death if death.details else WorkerDeath(death.reason, death_of(told, "").details)


def _without_common_causes(told: str) -> str:
    """Ray lists what might be, want of memory among it, for every process that ends unexpectedly."""
    return told.partition("Some common causes include")[0]


def _written_by(process: int, address: str) -> str:
    """The end of what a process of Ray's wrote to stderr; nothing where its node does not answer in time."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    there = [node["NodeID"] for node in nodes if node["Alive"] and node["NodeManagerAddress"] == address]
    if there == [ray.get_runtime_context().get_node_id()]:
        return _stderr_of(process)
    ask = ray.remote(num_cpus=0, max_retries=0)(_stderr_of)
    answers = [
        ask.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(process) for node in there
    ]
    with suppress(RayError):
        done, _ = ray.wait(answers, num_returns=len(answers), timeout=ANSWER_WITHIN_SECONDS) if answers else ([], [])
        return "".join(ray.get(done))
    return ""


def _stderr_of(process: int) -> str:
    """On the node of this process."""
    node = ray_worker.global_worker.node
    if node is None:
        return ""
    logs = Path(node.get_logs_dir_path())
    return "".join(end_of_file(path) for path in sorted(logs.glob(f"worker-*-{process}.err"))[-1:])
