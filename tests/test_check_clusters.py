"""The check of clusters: its laws, its verdict, and one small run to the end."""

import math

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation.checks import clusters as check_clusters
from gluonts_dualkl.evaluation.checks.clusters import CASES, Case, draw_mixture, passes

TINY = {"num_folds": 2, "num_walkers": 60, "max_rounds": 1}


def test_parts_differ_in_dependency_and_in_nothing_else():
    case = Case("two", ((0.8, 0.0), (0.0, 0.6)), 12, 3)
    x, labels = draw_mixture(case, 2000, 0)
    assert x.shape == (2000, 12, 3)
    assert np.bincount(labels).tolist() == [1000, 1000]
    for part, (phi, rho) in enumerate(case.parts):
        own = x[labels == part]
        error = 4.5 / math.sqrt(1000)
        assert np.abs(own.mean(0)).max() < error
        assert np.abs((own**2).mean(0) - 1).max() < math.sqrt(2) * error
        lagged = (own[:, 1:] * own[:, :-1]).mean(0)
        assert np.abs(lagged - phi).max() < math.sqrt(1 + phi**2) * error
        across = (own[:, :, 0] * own[:, :, 1]).mean(0)
        assert np.abs(across - rho).max() < math.sqrt(1 + rho**2) * error


def test_draws_depend_on_the_seed_only():
    a, b = (draw_mixture(CASES[0], 20, 3)[0] for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, draw_mixture(CASES[0], 20, 4)[0])


def test_verdict():
    rows = [
        (3, 3, 0.95, np.nan, True),
        (3, 3, 0.85, 1.0, False),
        (1, 1, 1.0, 0.95, True),
        (1, 1, 1.0, 0.5, False),
        (1, 2, 0.0, 0.99, False),
    ]
    columns = ["parts", "clusters", "rand", "stability", "expected"]
    table = pd.DataFrame(rows, columns=columns)
    assert passes(table).tolist() == table["expected"].tolist()


def test_run_writes_numbers(tmp_path, monkeypatch, capsys):
    case = Case("two laws", ((0.0, 0.0), (0.98, 0.0)), 12, 3)
    monkeypatch.setattr(check_clusters, "CASES", (case,))
    monkeypatch.setattr(check_clusters, "FAST", TINY)
    folder = str(tmp_path / "new")
    table = check_clusters.main(["--out", folder, "--fast", "--num-series", "80"])
    assert set(table["method"]) == {
        "dual space",
        "greedy cuts",
        "greedy, refined",
    }
    told = table[table["method"] == "greedy cuts"]
    assert (told["clusters"] == 2).all()
    assert (told["rand"] > 0.8).all()
    written = pd.read_csv(tmp_path / "new" / "clusters.csv")
    assert written["rand"].tolist() == pytest.approx(table["rand"].tolist())
    assert len(pd.read_json(tmp_path / "new" / "clusters.json")) == len(table)
    assert "two laws" in capsys.readouterr().out


def test_unknown_case(tmp_path, capsys):
    with pytest.raises(SystemExit):
        check_clusters.main(["--out", str(tmp_path), "--cases", "nonsense"])
    assert "there is no case 'nonsense'" in capsys.readouterr().err
