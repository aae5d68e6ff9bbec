"""Neural architecture search over attention placement in ResNets.

import cbam_search
study = cbam_search.launch("space.yaml")
for trial in study.front.members:
    print(trial.candidate.label, trial.values)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cbam_search.study.api import Study, launch, open_study, resume

__version__ = "0.1.0"
__all__ = ["Study", "__version__", "launch", "open_study", "resume"]


def __getattr__(name: str) -> Any:
    """Load torch and Ray only when something of them is used: `cbam-search --help` must answer at once."""
    if name in ("Study", "launch", "open_study", "resume"):
        from cbam_search.caller import left_as_found

        with left_as_found():
            from cbam_search.study import api

        return getattr(api, name)
    raise AttributeError(f"module 'cbam_search' has no attribute '{name}'")
