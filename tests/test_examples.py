"""The examples run on tiny settings and print what they promise."""

import ast
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from gluonts.env import env

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = ["finance", "environment", "own_csv", "compare_generators", "augment_deepar"]
TINY = {"num_walkers": 60, "max_rounds": 1, "num_steps": 3}
NOTEBOOK = EXAMPLES / "tour.ipynb"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run an example in an empty folder; nothing may appear beside ``out`` there."""

    def call(name, **settings):
        before = sorted(EXAMPLES.rglob("*"))
        returned = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"](**settings)
        assert sorted(EXAMPLES.rglob("*")) == before
        assert {path.name for path in tmp_path.iterdir()} <= {"out"}
        return returned

    monkeypatch.chdir(tmp_path)
    with env._let(use_tqdm=False):
        yield call


@pytest.mark.parametrize("name", SCRIPTS)
def test_examples_are_short(name):
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80
    assert ast.get_docstring(ast.parse("\n".join(lines)))


def test_finance_gives_facts_and_positive_paths(run, capsys):
    table, scores, prices = run("finance", num_windows=60, **TINY)
    assert list(table) == ["train", "held out", "synthetic", "Gaussian"]
    assert np.isfinite(table.to_numpy()).all()
    kurtosis = table.loc["excess kurtosis"]
    assert kurtosis["held out"] > 1 > kurtosis["Gaussian"]
    volatility = table.loc["volatility, % a day"]
    assert 0.5 < volatility["synthetic"] / volatility["train"] < 2
    assert "tail_index_ratio" in set(scores["metric"])
    assert prices.shape == (30, 25, 6)
    assert (prices > 0).all()
    np.testing.assert_allclose(prices[:, 0], prices[:1, 0].repeat(30, 0))
    assert Path("out/finance.png").stat().st_size > 10_000
    assert "excess kurtosis" in capsys.readouterr().out


def test_finance_facts_and_prices_are_right():
    finance = runpy.run_path(str(EXAMPLES / "finance.py"))
    returns = np.random.default_rng(0).normal(0, 2, (400, 50, 2))
    facts = finance["stylised_facts"](returns)
    assert facts["volatility, % a day"] == pytest.approx(2, rel=0.02)
    assert abs(facts["excess kurtosis"]) < 0.15
    assert abs(facts["autocorrelation of returns, lag 1"]) < 0.03
    assert abs(facts["of squared returns, lags 1 to 5"]) < 0.03
    prices = finance["to_prices"](returns, np.array([3.0, 7.0]))
    assert prices.shape == (400, 51, 2)
    np.testing.assert_allclose(prices[:, 0], [[3.0, 7.0]] * 400)
    np.testing.assert_allclose(100 * np.diff(np.log(prices), axis=1), returns)
    windows, starts, rates = finance["load_returns"](24)
    ends = finance["to_prices"](windows[:1], rates.iloc[0].to_numpy())[0, -1]
    np.testing.assert_allclose(ends, rates.iloc[24])
    assert starts[1] == rates.index[25]


def test_environment_sets_synthetic_storms_beside_held_out_ones(run, capsys):
    table, seasons, scores = run("environment", num_storms=80, **TINY)
    assert list(table) == ["5 %", "held out", "95 %", "synthetic"]
    assert (table["5 %"] <= table["held out"]).all()
    assert (table["held out"] <= table["95 %"]).all()
    assert table.loc["maximum wind, mean"].between(50, 120).all()
    assert table.loc["minimum pressure, mean"].between(920, 1005).all()
    for part in seasons.values():
        assert part["storms, %"].sum() == pytest.approx(100)
    assert "extremes_distance" in set(scores["metric"])
    assert Path("out/environment.png").stat().st_size > 10_000
    assert "Outside the interval" in capsys.readouterr().out


def test_environment_counts_hours_and_exceedances():
    extremes = runpy.run_path(str(EXAMPLES / "environment.py"))["extremes"]
    storms = np.zeros((4, 24, 4))
    storms[..., 2], storms[..., 3] = 40, 1000
    storms[0, :3, 2], storms[1, :5, 2] = 64, 100
    storms[2, 7, 3] = 900
    found = extremes(storms)
    assert found["storms that become hurricanes, %"] == 50
    assert found["hours of hurricane wind, mean of these"] == 6 * 4
    assert found["maximum wind, mean"] == (64 + 100 + 40 + 40) / 4
    assert found["minimum pressure, mean"] == 975


def test_own_csv_comes_back_complete_and_within_its_support(run, capsys):
    mine, synthetic = run("own_csv", num_stations=30, num_series=20, **TINY)
    assert list(synthetic) == list(mine)
    assert mine.isna().any().any() and not synthetic.isna().any().any()
    assert len(synthetic) == 20 * 24
    assert synthetic["humidity"].between(0, 100).all()
    assert (synthetic["rain"] >= 0).all() and (synthetic["rain"] == 0).mean() > 0.3
    np.testing.assert_allclose(
        10 * synthetic["rain"], (10 * synthetic["rain"]).round(), atol=1e-3
    )
    assert (synthetic["timestamp"].dt.hour.to_numpy()[:24] == np.arange(24)).all()
    names = {path.name for path in Path("out/own-csv").iterdir()}
    assert names == {"mine.csv", "synthetic.csv", "synthetic.parquet"}
    assert capsys.readouterr().out.count("read back equal: True") == 2


def test_own_csv_with_holes_keeps_the_grid(run):
    facts = runpy.run_path(str(EXAMPLES / "own_csv.py"))["facts"]
    mine, synthetic = run("own_csv", num_stations=30, num_series=20, **TINY)
    assert facts(synthetic)["holds"].all()


def test_own_csv_tells_what_is_on_the_grid():
    on_grid = runpy.run_path(str(EXAMPLES / "own_csv.py"))["on_grid"]
    assert on_grid(pd.Series([0.5, -2.0, np.nan]), 0.5)
    assert not on_grid(pd.Series([0.5, -2.25]), 0.5)


def test_compare_generators_prints_a_table_and_words(run, capsys):
    table = run(
        "compare_generators",
        num_storms=80,
        generators=("dualkl", "smote", "moving_blocks"),
        metrics=("dcr_share", "copy_rate", "coverage", "roughness_ratio"),
        settings={"dualkl": TINY},
    )
    assert list(table.index) == ["dualkl", "smote", "moving_blocks", "real storms"]
    assert np.isfinite(table.to_numpy()).all()
    assert table.loc["smote", "copy_rate"] > 0.5 > table.loc["moving_blocks"].iloc[1]
    said = capsys.readouterr().out
    assert said.count("No detectable copying") + said.count("Memorisation") == 3
    assert not list(Path.cwd().iterdir())


@pytest.mark.slow
def test_augment_deepar_scores_three_arms_and_leaves_no_file(run, capsys):
    pytest.importorskip("lightning")
    table = run(
        "augment_deepar", num_train=25, seeds=(0,), num_epochs=1, num_batches=3, **TINY
    )
    assert list(table.index) == ["real", "real + synthetic", "real + fresh real"]
    assert (table.to_numpy() > 0).all() and (table.to_numpy() < 3).all()
    assert len(set(table["seed 0"])) == 3
    assert "may be chance" in capsys.readouterr().out
    assert not list(Path.cwd().iterdir())


@pytest.fixture(scope="module")
def tour():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))


def test_tour_is_an_executed_notebook(tour):
    assert tour["nbformat"] == 4
    code = [cell for cell in tour["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        lines = "".join(cell["source"]).splitlines()
        source = "\n".join(line for line in lines if not line.startswith("%"))
        compile(source, "tour", "exec")
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5


def test_tour_is_small_and_says_nothing_of_the_machine(tour):
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    words = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"/(home|work|tmp|root|Users)/|\w:\\\\|stderr|Warning", words)
    assert set(tour["metadata"]) <= {"kernelspec", "language_info"}
    assert tour["metadata"]["kernelspec"]["name"] == "python3"
