"""Generators of other packages: they work where installed, and say what is missing."""

import builtins
import importlib.util
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from gluonts_dualkl.evaluation.baselines.external import (
    MissingExtraError,
    SdvPar,
    Tsgm,
    _seeded,
)

KINDS = {"tsgm": (Tsgm, {"epochs": 2}), "sdv": (SdvPar, {"epochs": 2})}


def sines(num, length=12):
    angle = np.random.default_rng(0).uniform(0, 6, (num, 1)) + 0.5 * np.arange(length)
    return np.stack([np.sin(angle), 5 + 2 * np.cos(angle)], axis=2)


@pytest.mark.slow
@pytest.mark.parametrize("package", list(KINDS))
@pytest.mark.filterwarnings("ignore")
def test_it_works_where_it_is_installed(package, tmp_path):
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    kind, options = KINDS[package]
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model = kind(**options).fit(sines(20))
    drawn = model.sample(7, seed=1)
    assert drawn.shape == (7, 12, 2)
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(model.sample(7, seed=1), drawn)
    assert not np.array_equal(model.sample(7, seed=2), drawn)
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    model.save(tmp_path / "saved")
    again = kind.load(tmp_path / "saved").sample(7, seed=1)
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.parametrize("package", list(KINDS))
def test_a_missing_package_is_named_with_its_extra(package, monkeypatch):
    hidden = ("keras", "tsgm", "sdv")
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    def import_module(name):
        return without(name)

    monkeypatch.setattr("importlib.import_module", import_module)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    kind, options = KINDS[package]
    with pytest.raises(
        MissingExtraError, match=rf"pip install 'gluonts-dualkl\[{package}\]'"
    ):
        kind(**options).fit(sines(20))


def test_missing_is_an_import_error():
    assert issubclass(MissingExtraError, ImportError)


def test_nothing_foreign_is_imported_before_fitting():
    code = (
        "import sys; from gluonts_dualkl.evaluation.baselines.external import *; "
        "Tsgm(), SdvPar(); print({'keras', 'tsgm', 'sdv'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr


@pytest.mark.parametrize("stop", [False, True])
def test_global_generators_are_put_back(stop):
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    python, numpy, torch_state = (
        random.getstate(),
        np.random.get_state(),  # noqa: NPY002
        torch.random.get_rng_state(),
    )
    expected = draw()
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    torch.random.set_rng_state(torch_state)
    found = []
    for _ in range(2):
        try:
            with _seeded(3):
                found.append(draw())
                if stop:
                    raise KeyError
        except KeyError:
            pass
    assert found[0] == found[1]
    assert draw() == expected


def test_seeds_may_be_large():
    with _seeded(2**62):
        first = torch.rand(1).item()
    with _seeded(2**62 + 1):
        assert torch.rand(1).item() != first


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Tsgm, {"epochs": 0}, "epochs: 0"),
        (Tsgm, {"batch_size": 0}, "batch_size: 0"),
        (Tsgm, {"latent": 0}, "latent: 0"),
        (SdvPar, {"epochs": 0}, "epochs: 0"),
    ],
)
def test_bad_settings(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options).fit(sines(20))
