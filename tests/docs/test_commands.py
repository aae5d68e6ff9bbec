"""Every command and every Python block of the README and the pages does what it is said to do.

Not run, for the reasons given: what needs a fresh machine or a network, a server that stays, and trainings of minutes.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cbam_search.cli.commands import app
from cbam_search.errors import ConfigError
from cbam_search.study.config import StudyConfig, read_study_config
from cbam_search.study.yaml_file import parse_yaml

Blocks = Callable[[str, str], list[str]]
CommandLine = Callable[..., subprocess.CompletedProcess[str]]

IN_A_PROCESS_OF_ITS_OWN = ("resume",)
"""It starts Ray, which one process should do once."""
READS_THE_IMAGES = ("plan", "tabulate")
"""Of the README's YAML they are not here, so the fixture's own takes its place."""
ONLY_VALIDATED = ("launch",)
"""The fixture has launched its own YAML by the same command; the README's would train for minutes, on images not here."""


@pytest.fixture(scope="module")
def workplace(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished study's folder, to write in; `space.yaml` is the README's."""
    folder = tmp_path_factory.mktemp("workplace") / "folder"
    shutil.copytree(finished_study, folder)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (folder / "space.yaml").write_text(readme.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")
    return folder


@pytest.mark.slow
def test_command(command: str, workplace: Path, root: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [word for word in shlex.split(command) if not re.match(r"[A-Z_]+=", word)]
    match words:
        case ["make", target]:  # a fresh machine and a network
            assert re.search(rf"^{target}:", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ["pip", "install", "-c", constraints, *_]:  # a network
            assert (root / constraints).is_file()
        case ["python3.11", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:  # a fresh machine
            pass
        case ["mlflow", "ui"]:  # a server that stays
            assert Path(sys.executable).with_name("mlflow").is_file()
        case ["nohup", "cbam-search", "launch", space, "&"]:  # tests/faults launches in this way
            read_study_config(workplace / space)
        case ["cbam-search", name, space] if name in ONLY_VALIDATED:
            read_study_config(workplace / space)
        case ["cbam-search", name, *arguments] if name in IN_A_PROCESS_OF_ITS_OWN:
            if "--trials" in arguments:  # one more than the fixture has: a hundred would take minutes
                arguments[arguments.index("--trials") + 1] = "5"
            finished = command_line(name, *arguments, cwd=workplace)
            assert finished.returncode == 0, finished.stdout + finished.stderr
        case ["cbam-search", *arguments]:
            if arguments[0] in READS_THE_IMAGES and "--classes" not in arguments:
                arguments = ["tiny.yaml" if argument == "space.yaml" else argument for argument in arguments]
            monkeypatch.chdir(workplace)
            for variable in ("CBAM_SEARCH_STUDIES", "MLFLOW_TRACKING_URI"):
                monkeypatch.delenv(variable, raising=False)
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, f"{result.output}\n{result.exception}"
            assert result.output
        case _:
            pytest.fail(f"nothing here runs or checks: {command}")


@pytest.mark.slow
def test_python_of_the_readme(blocks: Blocks, finished_study: Path, tmp_path: Path) -> None:
    """Its blocks one after the other, as a reader would type them, with a small `space.yaml`."""
    (tmp_path / "space.yaml").write_text((finished_study / "tiny.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    script = tmp_path / "script.py"
    script.write_text("\n".join(blocks("README.md", "python")), encoding="utf-8")
    finished = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "cifar_resnet8_0.25" in finished.stdout
    assert (tmp_path / "best" / "weights.safetensors").is_file()


def test_python_of_the_other_pages(blocks: Blocks, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_their_own_tests = {root / "docs" / name for name in ("adding-a-kind.md", "own-backbone.md")}
    index = root / "docs" / "README.md"  # a namesake of the README, without code
    assert "```" not in index.read_text(encoding="utf-8")
    for page in sorted({*(root / "docs").glob("*.md")} - with_their_own_tests - {index}):
        for block in blocks(page.name, "python"):
            exec(compile(block, page.name, "exec"), {})
            assert capsys.readouterr().out


def test_yaml(yaml_block: str, tmp_path: Path) -> None:
    """A block with a name is a whole file; any other is laid over the least that a file may hold."""
    if yaml_block.startswith("name:"):
        (tmp_path / "space.yaml").write_text(yaml_block, encoding="utf-8")
        read_study_config(tmp_path / "space.yaml")
        return
    least = {"name": "name: x", "dataset": "dataset: {source: digits}", "backbone": "backbone: {family: resnet, depth: 18}"}
    rest = [line for key, line in least.items() if not yaml_block.startswith(f"{key}:")]
    (tmp_path / "space.yaml").write_text("\n".join([*rest, yaml_block]), encoding="utf-8")
    read_study_config(tmp_path / "space.yaml")


def test_the_mistake_that_the_readme_shows(blocks: Blocks) -> None:
    space, *_ = blocks("README.md", "yaml")
    (shown,) = [text for text in blocks("README.md", "text") if text.startswith("error: ")]
    with pytest.raises(ConfigError) as caught:
        parse_yaml(space.replace("reduction_ratio", "reducton_ratio"), "space.yaml", StudyConfig)
    assert f"error: {caught.value}\n" == shown
