"""Data as users have it, from table to table by the command line."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gluonts_dualkl.cli import app

NUM, LENGTH = 48, 24


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of prices at two stations, with gaps, trained from a CSV file."""
    rng = np.random.default_rng(0)
    steps = 0.05 * rng.standard_normal((NUM, LENGTH, 2)).cumsum(1)
    station = np.arange(NUM) % 2
    prices = np.array([1.0, 100.0])[station][:, None, None] * np.exp(steps)
    prices[rng.uniform(size=prices.shape) < 0.1] = np.nan
    frame = pd.DataFrame(prices.reshape(-1, 2), columns=["bid", "ask"])
    frame.insert(0, "item_id", np.repeat([f"s{k}" for k in range(NUM)], LENGTH))
    days = pd.date_range("2024-01-01", periods=LENGTH, freq="D")
    frame.insert(1, "timestamp", np.tile(days, NUM))
    frame["feat_static_cat_0"] = np.repeat(station, LENGTH)
    folder = tmp_path_factory.mktemp("prices")
    frame.to_csv(folder / "prices.csv", index=False)
    result = run(
        "train", folder / "prices.csv", "--out", folder / "model", "--length", 12,
        "--stride", 6, "--scaling", "returns", "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder / "model"


def generated(model, tmp_path, *options):
    out = tmp_path / "out.csv"
    result = run("generate", model, "--out", out, "-n", 30, "--quiet", *options)
    assert result.exit_code == 0, result.output
    return pd.read_csv(out)


def test_prices_come_back_positive_and_complete(model, tmp_path):
    frame = generated(model, tmp_path)
    assert list(frame) == ["item_id", "timestamp", "bid", "ask", "feat_static_cat_0"]
    assert len(frame) == 30 * 12
    assert frame[["bid", "ask"]].to_numpy().min() > 0


def test_a_category_and_its_level(model, tmp_path):
    frame = generated(model, tmp_path, "--static-cat", "1")
    assert set(frame["feat_static_cat_0"]) == {1}
    assert 30 < frame["bid"].median() < 300


def test_gaps_on_request(model, tmp_path):
    frame = generated(model, tmp_path, "--with-missing")
    assert 0.04 < frame[["bid", "ask"]].isna().to_numpy().mean() < 0.2


def test_longer_series(model, tmp_path):
    frame = generated(model, tmp_path, "--length", 40)
    assert set(frame.groupby("item_id").size()) == {40}
    assert frame["bid"].min() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--static-cat", "one"], "--static-cat is 'one'; give numbers"),
        (["--static-cat", "7"], "0 training windows have feat_static_cat [7]"),
        (["--static-real", "1"], "'feat_static_real', which the data do not have"),
        (["--length", "5"], "length is 5 and windows have 12 steps"),
        (["--length", "30", "--with-missing"], "cannot be combined"),
    ],
)
def test_bad_requests_are_one_sentence(model, tmp_path, options, message):
    result = run("generate", model, "--out", tmp_path / "x.csv", *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "x.csv").exists()


def test_bad_settings_are_one_sentence(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("item_id,timestamp,x\n")
    for option, value in [("--scaling", "log"), ("--devices", "many")]:
        result = run("train", table, "--out", tmp_path / "m", option, value)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
