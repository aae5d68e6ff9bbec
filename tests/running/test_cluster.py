"""Ray started here or joined."""

from __future__ import annotations

import pytest

from cbam_search.errors import ResourceError
from cbam_search.running.cluster import ray_running
from cbam_search.running.config import ResourcesConfig


def test_an_address_that_is_none_is_the_readers_business() -> None:
    with (
        pytest.raises(ResourceError, match="no Ray cluster answers at nonsense"),
        ray_running(ResourcesConfig(address="nonsense"), verbose=False),
    ):
        pass
