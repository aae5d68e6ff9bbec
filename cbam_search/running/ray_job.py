"""This driver's job at Ray: which code its workers find, and where Ray's own messages go."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray._private.worker as ray_worker
from ray.job_config import JobConfig

from cbam_search.running.worker_path import folder_of_this_package
from cbam_search.safe_text import without_secrets

_log = logging.getLogger("ray")


class JobOfInstalledCode(JobConfig):
    """Workers import what is installed, and what PYTHONPATH names.

    Ray would put the folder of the driver's script and the current one first on their path, where a `profile.py` that happens
    to lie there stands in for Python's own.
    """

    def _get_proto_job_config(self) -> Any:
        self._py_driver_sys_path = folder_of_this_package()
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


@contextmanager
def messages_to_log() -> Iterator[None]:
    """What Ray prints to this process's stdout, such as `(raylet) A worker died ...`, goes to its log meanwhile.

    `ray.init(log_to_driver=False)` stops what workers print, not these.
    """
    before = ray_worker.print_to_stdstream

    def to_log(data: dict[str, Any], ignore_prefix: bool = False) -> None:  # noqa: ARG001
        _log.warning("(%s) %s", data.get("pid"), without_secrets("\n".join(map(str, data.get("lines", ())))))

    ray_worker.print_to_stdstream = to_log
    try:
        yield
    finally:
        ray_worker.print_to_stdstream = before
