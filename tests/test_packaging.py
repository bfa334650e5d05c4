"""The package is found as promised: from a checkout, and from a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ("fx_ecb_small.csv.gz", "storms_atlantic_small.csv.gz", "LICENCES.md")

PRINT_PLACES = """
import pathlib, gluonts_dualkl, gluonts_dualkl.evaluation.metrics
from gluonts_dualkl import evaluation
for module in (gluonts_dualkl, evaluation):
    print(pathlib.Path(module.__file__).resolve().parent)
"""


def places(cwd, path=""):
    """Folders that the package and its evaluation are imported from."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRINT_PLACES],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [Path(line) for line in done.stdout.split()]


def is_editable():
    spec = find_spec("gluonts_dualkl")
    return spec is not None and Path(spec.origin).parents[1] == ROOT


@pytest.mark.skipif(not is_editable(), reason="needs an editable install")
@pytest.mark.parametrize("inside", [True, False], ids=["project root", "elsewhere"])
def test_editable_install(inside, tmp_path):
    expected = [ROOT / "gluonts_dualkl", ROOT / "evaluation"]
    assert places(ROOT if inside else tmp_path) == expected


def test_every_folder_of_evaluation_is_in_the_distribution():
    listed = (ROOT / "pyproject.toml").read_text()
    for init in (ROOT / "evaluation").rglob("__init__.py"):
        parts = ("gluonts_dualkl", *init.parent.relative_to(ROOT).parts)
        assert f'"{".".join(parts)}"' in listed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Wheel built from a copy, so that the checkout stays clean."""
    copy = tmp_path_factory.mktemp("build") / "copy"
    copy.mkdir()
    for folder in ("gluonts_dualkl", "evaluation"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next((copy / "dist").glob("*.whl"))


@pytest.mark.slow
def test_wheel_holds_every_module_and_the_data(wheel):
    expected = {f"gluonts_dualkl/evaluation/data/{name}" for name in DATA}
    expected |= {"gluonts_dualkl/py.typed"}
    library = ROOT / "gluonts_dualkl"
    for module in (*library.glob("*.py"), *library.glob("[a-z]*/*.py")):
        if module.parent.name != "evaluation":
            expected.add(module.relative_to(ROOT).as_posix())
    for module in (ROOT / "evaluation").rglob("*.py"):
        expected.add(f"gluonts_dualkl/{module.relative_to(ROOT).as_posix()}")
    names = {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}
    assert names == expected


@pytest.mark.slow
def test_wheel_imports_from_anywhere(wheel, tmp_path):
    target = tmp_path / "site"
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, *command, "--target", target, wheel], check=True)
    installed = target / "gluonts_dualkl"
    assert places(tmp_path, target) == [installed, installed / "evaluation"]
    checkout = [ROOT / "gluonts_dualkl", ROOT / "evaluation"]
    assert places(ROOT, target) == checkout
