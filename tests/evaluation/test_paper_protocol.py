"""The papers' protocol: its data, its rows, and how it goes on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation.checks import paper_protocol as module
from gluonts_dualkl.evaluation.checks.paper_protocol import (
    COLUMNS,
    DATA,
    PUBLISHED,
    main,
    paper_protocol,
    sines,
    stocks_like,
)

QUICK = {"num_windows": 60, "steps": 3, "repeats": 2, "judge_steps": 5}


def test_sines_are_sines():
    x, fresh = sines(50, seed=1)
    assert x.shape == fresh.shape == (50, 24, 5)
    assert x.min() >= 0 and x.max() <= 1
    assert not np.array_equal(x, fresh)
    y = 2 * np.concatenate([x, fresh]) - 1
    # sin(a (t + 1) + b) + sin(a (t - 1) + b) = 2 cos(a) sin(a t + b)
    ratio = (y[:, 2:] + y[:, :-2]) / (2 * y[:, 1:-1])
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(22, 1), atol=1e-9)
    pitch = np.arccos(ratio[:, 0].clip(-1, 1)).ravel()
    phase = np.arcsin(y[:, 0]).ravel()
    for found in (pitch, phase):
        assert 0 <= found.min() and found.max() <= 0.1
        error = 0.1 / np.sqrt(12 * found.size)
        assert abs(found.mean() - 0.05) < 4 * error
    assert abs(np.corrcoef(pitch, phase)[0, 1]) < 4 / np.sqrt(pitch.size)


def test_stocks_like_are_windows_of_the_record():
    x, fresh = stocks_like(30, seed=2)
    assert x.shape == fresh.shape == (30, 24, 6)
    rates = module.load_example("fx_ecb").iloc[:, 2:].to_numpy(float)
    starts = []
    for window in np.concatenate([x, fresh]):
        at = np.flatnonzero((rates[: len(rates) - 23] == window[0]).all(1))
        same = [k for k in at if np.array_equal(rates[k : k + 24], window)]
        assert same
        starts.append(same[0])
    assert len(set(starts)) == 60


@pytest.mark.parametrize("name", DATA)
def test_data_follow_their_seed(name):
    first, again, other = (DATA[name](25, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_rows_and_going_on(tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "scores.csv"
    rows = paper_protocol(["jitter"], out, data=["sines"], **QUICK)
    assert list(rows.columns) == COLUMNS
    assert len(rows) == 1
    calls = []
    make = module._make
    monkeypatch.setattr(module, "_make", lambda *a: calls.append(a) or make(*a))
    options = ["--num-windows", "60", "--steps", "3", "--repeats", "2"]
    options += ["--judge-steps", "5", "--out", str(out)]
    both = main(["--generators", "jitter, training_copies", *options])
    assert [a[0] for a in calls] == ["training_copies", "jitter", "training_copies"]
    pd.testing.assert_frame_equal(both[:1], rows, check_dtype=False)
    pd.testing.assert_frame_equal(module._read(out), both, check_dtype=False)
    assert both["score"].between(0, 0.5).all() and both["floor"].between(0, 0.5).all()
    assert (both.groupby("data")["floor"].nunique() == 1).all()
    assert "training_copies" in capsys.readouterr().out
    assert len(paper_protocol(["jitter"], out, data=["sines"], **QUICK)) == 4


def test_the_score_tells_noise_from_copies(tmp_path):
    options = {**QUICK, "num_windows": 400, "judge_steps": 600}
    rows = paper_protocol(
        ["independent_marginals", "training_copies"],
        tmp_path / "scores.csv",
        data=["sines"],
        **options,
    )
    bad, copies = rows["score"]
    assert bad > 0.18
    # 160 judged windows: the folded error of a coin has mean 0.032, deviation 0.024
    assert copies < 0.12 and rows["floor"].max() < 0.12


def test_steps_seed_and_sizes_reach_the_generator(monkeypatch):
    class Kind:
        def __init__(self, **options):
            self.options = options

    monkeypatch.setattr(module, "baseline_class", lambda name: Kind)
    named = [type("F", (), {"name": n, "init": n != "network"})
             for n in ("max_steps", "seed", "num_layers", "network")]  # fmt: skip
    monkeypatch.setattr(module, "fields", lambda kind: named)
    made = module._make("timegan", 70, 5)
    assert made.options == {"max_steps": 70, "seed": 5, "num_layers": 3}


def test_published_numbers_have_sources():
    for numbers in PUBLISHED.values():
        assert set(numbers) == set(DATA)
        assert all(0 <= value <= 0.5 and source for value, source in numbers.values())
    assert PUBLISHED["timegan"]["sines"][0] == 0.011
    assert PUBLISHED["diffusion_ts"]["stocks-like"][0] == 0.067


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generators": ["no_such"]}, "no generator 'no_such'"),
        ({"data": ["stocks"]}, "data: no set 'stocks', choose from sines, stocks-like"),
        ({"num_windows": 19}, "num_windows: 19, expected 20"),
        ({"steps": 0}, "steps: 0, expected 1"),
        ({"repeats": 1}, "repeats: 1, expected 2"),
        ({"judge_steps": 0}, "judge_steps: 0, expected 1"),
    ],
)
def test_bad_requests(tmp_path, options, message):
    given = {"generators": ["jitter"], **QUICK, **options}
    with pytest.raises(ValueError, match=message):
        paper_protocol(out=tmp_path / "scores.csv", **given)
    assert not list(tmp_path.iterdir())


def test_too_many_windows_of_the_record():
    with pytest.raises(ValueError, match="num_windows: 5000, expected at most 3480"):
        stocks_like(5000)


def test_a_file_of_others_is_left_alone(tmp_path):
    out = tmp_path / "scores.csv"
    out.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other columns"):
        paper_protocol(["jitter"], out, **QUICK)
    assert out.read_text() == "a,b\n1,2\n"
