"""Commands on a YAML with a user's own network: nothing runs without --allow-code, and every mistake exits with 2 in words."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from own_networks import write_networks

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

SPACE = """\
name: own
dataset: {{source: digits, limit: 300}}
backbone: {{module: "{module}", sites: [{sites}], arguments: {{{arguments}}}}}
attention: {{kind: [none, se]}}
training: {{epochs: 1}}
search: {{trials: 3, baselines: [none, se]}}
"""


def write_space(folder: Path, module: str = "net:net", sites: str = "layer1, layer2", arguments: str = "") -> None:
    (folder / "space.yaml").write_text(SPACE.format(module=module, sites=sites, arguments=arguments))


def refused(done: subprocess.CompletedProcess[str], words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert words in done.stderr


@pytest.mark.parametrize("command", ["plan", "launch"])
def test_without_permission_nothing_is_imported(tmp_path: Path, command_line: CommandLine, command: str) -> None:
    (tmp_path / "net.py").write_text("open('ran', 'w')\ndef net(): ...\n")
    write_space(tmp_path)
    refused(command_line(command, "space.yaml", cwd=tmp_path), "The backbone is built by the Python function net:net.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.py", "space.yaml"]


def test_validate_reads_and_does_not_run(tmp_path: Path, command_line: CommandLine) -> None:
    (tmp_path / "net.py").write_text("open('ran', 'w')\ndef net(): ...\n")
    write_space(tmp_path, arguments="width: [0.5, 1.0]")
    done = command_line("validate", "space.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 sites in 3 parameters" in done.stdout
    assert "net:net was found but not run" in done.stdout
    assert not (tmp_path / "ran").exists()
    write_space(tmp_path, module="net:nets")
    refused(command_line("validate", "space.yaml", cwd=tmp_path), "net has no function 'nets'. Did you mean 'net'?")
    write_space(tmp_path, module="nett:net")
    refused(command_line("validate", "space.yaml", cwd=tmp_path), "the module 'nett' is not found")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"module": "nett:net"}, "the module 'nett' is not found"),
        ({"module": "net:raises"}, "net:raises(classes=10) failed: RuntimeError: no such file: weights.bin (net.py:"),
        ({"sites": "layer_1"}, "net has no submodule 'layer_1'. Did you mean 'layer1'?"),
        ({"sites": "head"}, "attention needs (N, C, H, W)"),
        ({"arguments": "widht: 0.5"}, "takes no argument 'widht'. Did you mean 'width'?"),
    ],
)
def test_a_mistake_exits_with_2_before_anything_is_written(
    tmp_path: Path, command_line: CommandLine, changes: dict[str, str], words: str
) -> None:
    write_networks(tmp_path)
    write_space(tmp_path, **changes)
    refused(command_line("launch", "space.yaml", "--allow-code", cwd=tmp_path), words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.py", "space.yaml"]


def test_plan_says_what_the_space_costs(tmp_path: Path, command_line: CommandLine) -> None:
    write_networks(tmp_path)
    write_space(tmp_path, arguments="width: [0.5, 1.0]")
    arguments = ("--allow-code", "--classes", "4", "--image-size", "16")
    done = command_line("plan", "space.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "8 distinct architectures" in done.stdout
    assert "net(width=0.5)+se" in done.stdout


UNKNOWN = """
import torch
from net import Net

class Odd(Net):
    def forward(self, x):
        return super().forward(x + torch.special.bessel_j0(x))

def odd(in_channels, classes):
    return Odd(in_channels, classes)
"""


def test_plan_names_operators_that_nothing_is_known_of(tmp_path: Path, command_line: CommandLine) -> None:
    write_networks(tmp_path)
    (tmp_path / "odd.py").write_text(UNKNOWN)
    write_space(tmp_path, module="odd:odd")
    arguments = ("--allow-code", "--classes", "4", "--image-size", "16")
    done = command_line("plan", "space.yaml", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: gflops of odd leave out operators that nothing is known of" in done.stdout
    assert "special_bessel_j0 (called 1 times)" in done.stdout
    # The only axis is flat: one network, and attention adds next to nothing.
    assert "add choices of backbone.arguments, or use latency_ms" in done.stdout
