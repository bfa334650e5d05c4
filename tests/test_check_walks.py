from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from laws import ar1

from gluonts_dualkl.evaluation.checks import walks as check_walks
from gluonts_dualkl.evaluation.checks.walks import (
    analytic,
    gradient_walks,
    largest_score,
    learned_mala,
    main,
    moments,
)


def values(rows):
    return {(row["case"], row["quantity"]): row["value"] for row in rows}


def test_moments_of_a_known_law():
    found = moments(ar1(4000, 24, 2, 0.8, seed=0))
    assert found == pytest.approx(
        {"variance": 1, "lag 1": 0.8, "lag 2": 0.64}, abs=0.02
    )


@pytest.mark.parametrize(
    ("phi", "shift", "scale", "passes"),
    [
        (0.8, 0.0, 1.0, True),
        (0.7, 0.0, 1.0, False),
        (0.8, 0.2, 1.0, False),
        (0.8, 0.0, 0.9, False),
    ],
)
def test_largest_score_tells_laws_apart(phi, shift, scale, passes):
    t = np.arange(24)
    truth = torch.as_tensor(0.8 ** np.abs(t[:, None] - t))
    z = shift + scale * torch.as_tensor(ar1(3000, 24, 1, phi, seed=1))
    score, limit = largest_score(z, truth)
    assert (score < limit) == passes


def test_bounds_of_a_row():
    row = check_walks._row
    assert row("a", "b", "c", 1.0)["ok"] is None
    assert row("a", "b", "c", 1.0, high=2.0)["ok"] is True
    assert row("a", "b", "c", 3.0, high=2.0)["ok"] is False
    assert row("a", "b", "c", [0.0, 4.0], 1.0, 3.0)["ok"] is True  # the mean is judged
    assert row("a", "b", "c", [0.0, 4.0], 1.0, 3.0)["sd"] == pytest.approx(8**0.5)
    assert row("a", "b", "c", math.nan, 1.0, 3.0)["ok"] is False


def test_analytic_part_holds_and_finds_a_wrong_law(monkeypatch):
    monkeypatch.setattr(check_walks, "LENGTH", 3)
    rows = analytic(fast=True)
    assert all(row["ok"] is not False for row in rows)
    assert sum(row["ok"] is True for row in rows) == 24
    right = check_walks._normal
    monkeypatch.setattr(check_walks, "_normal", lambda a: right(1.4 * a))
    scores = [row for row in analytic(fast=True) if row["quantity"] == "largest |z|"]
    assert [row["ok"] for row in scores] == [False] * 6


def test_walks_on_a_generator(generator, monkeypatch):
    monkeypatch.setattr(check_walks, "NUM_DRAWN", 200)
    found = values(gradient_walks(generator, "here"))
    assert found["from data, here", "reached the level"] > 0.9
    assert found["from data, here", "start is nearest"] > 0.8
    assert ("from marginals, here", "start is nearest") not in found
    assert found["from marginals, here", "variance ratio"] < 0.9
    train = ar1(40, 12, 2, 0.7, seed=0)
    held_out = ar1(100, 12, 2, 0.7, seed=1)
    rows = learned_mala([(generator, train, held_out)], "here", 60)
    assert {row["quantity"] for row in rows} == {
        "variance",
        "lag 1",
        "lag 2",
        "copy rate",
        "nearest-neighbour ratio",
        "acceptance",
    }
    assert 0.4 < values(rows)["here", "acceptance"] < 0.75
    assert values(rows)["here", "lag 1"] == pytest.approx(0.7, abs=0.15)


def test_command_writes_every_number(tmp_path, capsys, monkeypatch):
    given = pd.DataFrame(
        [
            check_walks._row("learned", "C = 1", "variance", [1.0, 1.1], 0.9, 1.1),
            check_walks._row("learned", "C = 1", "copy rate", 0.5, 0.02, 0.1),
            check_walks._row("gradient walk", "C = 1", "lag 1", 0.8),
        ],
        columns=check_walks.COLUMNS,
    )
    monkeypatch.setattr(check_walks, "check", lambda fast, seed: given)
    out = tmp_path / "walks"
    table = main(["--out", str(out), "--fast"])
    assert table is given
    pd.testing.assert_frame_equal(
        pd.read_csv(out / "walks.csv")[["quantity", "value"]],
        given[["quantity", "value"]],
    )
    rows = json.loads((out / "walks.json").read_text())
    assert [row["ok"] for row in rows] == [True, False, None]
    assert rows[2]["low"] is None and rows[0]["value"] == pytest.approx(1.05)
    printed = capsys.readouterr().out
    assert "MISSED" in printed and "1 of 2 bounds hold" in printed
    with pytest.raises(FileExistsError, match="exists"):
        main(["--out", str(out)])
