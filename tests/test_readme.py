"""What the README says runs as written."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_begins_with_the_quickstart_example():
    assert blocks("python")[0] == (ROOT / "examples" / "quickstart.py").read_text()


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.slow
def test_quickstart_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(ROOT / "examples" / "quickstart.py"))
    assert names["array"].shape == (500, 24, 4)
    assert len(names["entries"]) == 500
    assert len(names["levels"]) == 366


@pytest.mark.slow
def test_data_as_they_come():
    imports = blocks("python")[0].split("\nstorms =")[0]
    names = {}
    exec(imports + blocks("python")[1], names)
    assert {entry["target"].shape for entry in names["paths"]} == {(6, 63)}
    assert min(entry["target"].min() for entry in names["paths"]) > 0
    gaps = [np.isnan(entry["target"]).mean() for entry in names["gappy"]]
    assert 0 < np.mean(gaps) < 0.1


@pytest.mark.slow
def test_shell_commands_run(tmp_path):
    (tmp_path / "evaluation").symlink_to(ROOT / "evaluation")
    commands = [
        line.replace(". .venv/bin/activate", ":")
        for block in blocks("sh")
        for line in block.splitlines()
        if re.match("gluonts-dualkl (train|generate|info|plot) ", line)
    ]
    assert len(commands) == 4
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        subprocess.run(
            ["bash", "-c", f"{command} --quiet" if "info" not in command else command],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            check=True,
        )
    assert (tmp_path / "out" / "synthetic.csv").is_file()
