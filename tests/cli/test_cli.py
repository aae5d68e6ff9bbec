"""The command line as its user meets it: exit codes, what is printed where, and what is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cbam_search.architecture import Architecture

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

MISTAKES = """\
name: digits
dataset: {source: digits}
backbone: {family: cifar_resnet, depht: [8]}
attention:
  kind: [none, cbma]
  reduction_ratio: [0]
search: {trials: many}
"""


def test_a_mistyped_yaml_names_every_mistake_and_starts_nothing(tmp_path: Path, command_line: CommandLine) -> None:
    (tmp_path / "space.yaml").write_text(MISTAKES)
    for command in ("validate", "plan", "launch"):
        done = command_line(command, "space.yaml", cwd=tmp_path)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        for words in (
            "space.yaml:3: backbone.depht",
            "'depth'",
            "space.yaml:5: attention.kind[1]",
            "'cbam'",
            "space.yaml:6:",
            ":7:",
        ):
            assert words in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["space.yaml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("launch", "none.yaml"), "none.yaml"),
        (("cost", "resnet50+cbma"), "Did you mean 'cbam'"),
        (("front", "none"), "no study 'none'"),
        (("resume",), "there is no study in the folder studies"),
        (("launch",), "Missing argument"),
        (("plan", "none.yaml"), "none.yaml"),
        (("plan", "none.yaml", "--picture", "plan.gif"), "ends in .png or .svg"),
        (("plan", "none.yaml", "--classes", "1"), "--classes"),
        (("lanuch", "x"), "No such command"),
    ],
)
def test_what_the_reader_can_mend_exits_with_2(
    tmp_path: Path, command_line: CommandLine, arguments: tuple[str, ...], words: str
) -> None:
    done = command_line(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_cost_prints_the_published_figures_as_json(tmp_path: Path, command_line: CommandLine) -> None:
    done = command_line("cost", "resnet50+cbam", "--json", cwd=tmp_path)
    printed = json.loads(done.stdout)
    assert set(printed) == {"architecture", "gflops", "params", "by_operator", "unknown"}
    assert printed["architecture"] == "resnet50+cbam"
    assert (round(printed["gflops"], 3), round(printed["params"] / 1e6, 2)) == (3.864, 28.09)
    assert sum(printed["by_operator"][name] for name in ("convolution", "linear")) == pytest.approx(printed["gflops"])


def test_a_plan_writes_nothing_but_its_picture(tmp_path: Path, command_line: CommandLine) -> None:
    (tmp_path / "space.yaml").write_text(
        "name: a\ndataset: {source: digits}\nbackbone: {family: cifar_resnet, depth: [8, 14]}\n"
    )
    arguments = ("plan", "space.yaml", "--classes", "10", "--image-size", "8", "--json", "--picture", "plan.png")
    done = command_line(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["distinct_architectures"] == 3**3 + 3**6
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["plan.png", "space.yaml"]


def test_the_schema_is_json_and_knows_every_section(tmp_path: Path, command_line: CommandLine) -> None:
    schema = json.loads(command_line("schema", cwd=tmp_path).stdout)
    sections = {
        "name",
        "seed",
        "dataset",
        "backbone",
        "attention",
        "objectives",
        "constraints",
        "latency",
        "training",
        "search",
    }
    assert set(schema["properties"]) == sections | {"resources", "records", "tracking"}


@pytest.mark.parametrize("arguments", [["--help"], ["launch", "-h"], ["--version"], ["validate", "space.yaml"], ["schema"]])
def test_light_commands_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "space.yaml").write_text("name: a\ndataset: {source: digits}\nbackbone: {family: resnet, depth: 18}\n")
    code = (
        "import sys; from cbam_search.cli import main\n"
        f"sys.argv = ['cbam-search', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = [m for m in ('torch', 'ray', 'optuna', 'mlflow', 'datasets', 'pandas', 'sklearn') if m in sys.modules]\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "[]"


@pytest.mark.slow
def test_front_lists_the_front_with_the_published_designs(finished_study: Path, command_line: CommandLine) -> None:
    printed = json.loads(command_line("front", "tiny", "--json", cwd=finished_study).stdout)
    assert printed["study"] == "tiny"
    assert printed["objectives"] == {"accuracy": "max", "gflops": "min"}
    assert {row["label"] for row in printed["published"]} >= {f"cifar_resnet8_0.25{kind}" for kind in ("", "+se", "+cbam")}
    assert all(row["pareto_rank"] == 0 and Architecture.model_validate(row["architecture"]) for row in printed["front"])
    table = command_line("front", cwd=finished_study).stdout
    assert "cifar_resnet8_0.25+cbam" in table
    assert "1 GFLOP = 1e9 multiply-adds" in table


@pytest.mark.slow
def test_the_exported_module_runs_where_nothing_but_torch_is_needed(
    finished_study: Path, command_line: CommandLine, tmp_path: Path
) -> None:
    best = tmp_path / "best"
    done = command_line("export", "latest", "--pick", "best-accuracy", "--output", str(best), cwd=finished_study)
    assert done.returncode == 0, done.stderr
    code = "import sys; sys.path.insert(0, '.'); import model, torch; print(model.load()(torch.zeros(2, 1, 8, 8)).shape)"
    ran = subprocess.run([sys.executable, "-I", "-c", code], cwd=best, capture_output=True, text=True, check=False)
    assert ran.stdout.strip() == "torch.Size([2, 10])", ran.stderr
    again = command_line("export", "tiny", "--pick", "17", "--output", str(best), cwd=finished_study)
    assert again.returncode == 2
    assert "trial 17" in again.stderr


@pytest.mark.slow
def test_without_a_terminal_progress_is_plain_lines(finished_study: Path) -> None:
    log = (finished_study / "studies" / "tiny" / "study.log").read_text()
    assert "A new study created" in log
