"""Every candidate of every valid space: builds, trains, and is the same wherever it is read again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spaces import assignments, spaces

from cbam_search.architecture import Architecture
from cbam_search.backbones.builder import build
from cbam_search.space.space import Space

DIGESTS = """
import json, sys
from cbam_search.architecture import Architecture
for line in sys.stdin:
    architecture = Architecture.model_validate_json(line)
    print(json.dumps([architecture.digest, architecture.label, architecture.canonical_json]))
"""


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(spaces(), st.data())
def test_any_candidate_builds_and_every_parameter_gets_a_gradient(space: Space, data: st.DataObject) -> None:
    architecture = space.decode(data.draw(assignments(space)))
    network = build(architecture).train()
    for parameter in network.parameters():
        # Gates and last batch norms that start from zero would keep gradients from what lies before them.
        parameter.data += 0.1 * torch.randn_like(parameter)
    images = torch.randn(4, architecture.backbone.in_channels, data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20)))
    logits = network(images)
    assert logits.shape == (4, architecture.backbone.classes)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    # A hidden unit behind a ReLU may be off for all four images; a whole network that learns nothing may not.
    learning = sum(bool(parameter.grad.any()) for parameter in network.parameters() if parameter.grad is not None)
    assert learning > 0.5 * sum(1 for _ in network.parameters())
    assert network.eval()(images).isfinite().all()


@settings(max_examples=100, deadline=None)
@given(spaces(), st.data())
def test_any_candidate_survives_json_both_ways(space: Space, data: st.DataObject) -> None:
    architecture = space.decode(data.draw(assignments(space)))
    for text in (architecture.model_dump_json(), architecture.canonical_json, json.dumps(architecture.model_dump(mode="json"))):
        again = Architecture.model_validate_json(text)
        assert again == architecture
        assert (again.digest, again.label) == (architecture.digest, architecture.label)


@settings(max_examples=2, deadline=None)
@given(spaces().flatmap(lambda space: st.lists(assignments(space).map(space.decode), min_size=20, max_size=20)))
def test_candidates_read_in_another_process_are_the_same(architectures: list[Architecture]) -> None:
    lines = "\n".join(architecture.model_dump_json() for architecture in architectures)
    command = [sys.executable, "-c", DIGESTS]
    environment = {"PYTHONHASHSEED": "7", "PATH": ""}
    done = subprocess.run(command, input=lines, env=environment, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [[entry.digest, entry.label, entry.canonical_json] for entry in architectures]
