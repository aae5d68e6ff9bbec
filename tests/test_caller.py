"""The process of whoever calls from Python is left as it was found."""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from cbam_search.caller import left_as_found


def test_what_was_changed_is_put_back_whatever_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("REMOVED", "before")
    here, filters, threads = Path.cwd(), list(warnings.filters), torch.get_num_threads()
    python, numpy, generator = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), left_as_found():
        os.environ["KEPT"], os.environ["ADDED"] = "after", "after"
        del os.environ["REMOVED"]
        warnings.simplefilter("ignore")
        os.chdir(tmp_path)
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        torch.set_num_threads(threads + 1)
        raise ZeroDivisionError
    assert (os.environ["KEPT"], os.environ["REMOVED"], os.environ.get("ADDED")) == ("before", "before", None)
    assert Path.cwd() == here
    assert list(warnings.filters) == filters
    assert random.getstate() == python
    assert np.random.get_state()[1].tobytes() == numpy
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.get_num_threads() == threads
