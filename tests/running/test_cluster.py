"""Ray started here or joined."""

from __future__ import annotations

import pytest

from cbam_search.errors import ResourceError
from cbam_search.running.cluster import cluster_running, ray_running
from cbam_search.running.config import ResourcesConfig


def test_an_address_that_is_none_is_the_readers_business() -> None:
    with (
        pytest.raises(ResourceError, match="no Ray cluster answers at nonsense"),
        ray_running(ResourcesConfig(address="nonsense"), verbose=False),
    ):
        pass


def test_an_address_for_ray_client_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study's folder would be looked for on another machine."""
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with (
        pytest.raises(ResourceError, match="Launch on a node of the cluster"),
        cluster_running(ResourcesConfig(), verbose=False),
    ):
        pass


def test_inline_takes_no_ray_and_one_trial_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    with cluster_running(ResourcesConfig(executor="inline"), verbose=False) as resources:
        assert resources.concurrent == 1
    with (
        pytest.raises(ResourceError, match=r"one trial asks for 10000 CPUs and .* but this machine has"),
        cluster_running(ResourcesConfig(executor="inline", cpus_per_trial=10_000), verbose=False),
    ):
        pass
