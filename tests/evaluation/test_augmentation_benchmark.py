"""The augmentation benchmark: one table, resumed equals uninterrupted, a command."""

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from gluonts_dualkl.cli_augment import augment_benchmark
from gluonts_dualkl.cli_common import Commands
from gluonts_dualkl.evaluation.baselines import Jitter
from gluonts_dualkl.evaluation.forecasting.benchmark import (
    GAINS,
    SUMMARY,
    TABLE,
    collect_augmentation,
    run_augment_benchmark,
)
from gluonts_dualkl.evaluation.forecasting.forecasters import Ridge

PLAN = {
    "forecasters": ["ridge", "seasonal_naive"],
    "seeds": 2,
    "sizes": (25, 5000),
    "arms": ["real+jitter", "real+fresh real"],
}


@pytest.fixture
def run(tmp_path):
    def call(out="results", **options):
        return run_augment_benchmark(
            "storms_atlantic", tmp_path / out, **{**PLAN, **options}
        )

    return call


def test_tables_and_words(run, tmp_path):
    table = run()
    folder = tmp_path / "results"
    pd.testing.assert_frame_equal(table, pd.read_parquet(folder / TABLE))
    assert len(list(folder.glob("cells/storms_atlantic/*/25-*.parquet"))) == 4
    assert set(table["arm"]) == {"real", *PLAN["arms"]}
    assert (table["n_train"] == 25).all()
    gains = pd.read_csv(folder / GAINS)
    assert len(gains) == 2 * 2 * 3
    assert (gains["dataset"] == "storms_atlantic").all()
    assert "storms_atlantic, ridge, 25 windows" in (folder / SUMMARY).read_text()


def test_resumed_equals_uninterrupted(run, tmp_path):
    whole = run("whole")

    class Killed(BaseException):
        pass

    def kill(cell, failure, done, total):
        assert (failure, total) == ("", 4)
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        run("killed", progress=kill)
    killed = tmp_path / "killed"
    assert not (killed / TABLE).exists()
    times = {p: p.stat().st_mtime_ns for p in killed.glob("cells/*/*/*")}
    assert len(times) == 3
    done = []
    resumed = run("killed", resume=True, progress=lambda *a: done.append(a[2:]))
    pd.testing.assert_frame_equal(whole, resumed)
    assert done == [(4, 4)]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_damaged_cell_is_computed_again_and_more_may_be_asked_for(run, tmp_path):
    whole = run()
    next((tmp_path / "results").glob("cells/*/*/*.parquet")).write_bytes(b"half")
    pd.testing.assert_frame_equal(whole, run(resume=True))
    assert set(run(resume=True, sizes=(30,))["n_train"]) == {25, 30}


def test_failures_are_rows_and_can_be_tried_again(run, monkeypatch):
    def refuse(self, windows, validation):
        raise RuntimeError("no luck")

    monkeypatch.setattr(Jitter, "_fit", refuse)
    bad = {"arms": ["real+jitter"]}
    told = []
    table = run(progress=lambda cell, failure, *_: told.append(failure), **bad)
    failed = table[table["failure"] != ""]
    assert set(failed["arm"]) == {"real+jitter"} and len(failed) == 4
    assert told == ["RuntimeError: no luck"] * 4
    again = []
    run(resume=True, progress=lambda *a: again.append(a), **bad)
    assert again == []
    run(resume=True, retry=True, progress=lambda *a: again.append(a), **bad)
    assert len(again) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forecasters": ["x"]}, "no forecaster 'x'"),
        ({"arms": ["x"]}, "no arm 'x'"),
        ({"seeds": 0}, "seeds: 0"),
        ({"sizes": (5000,)}, "has a pool of only"),
        ({"horizon": 23}, "horizon: 23, expected 1 to 22"),
    ],
)
def test_errors_come_before_anything_is_written(run, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run(**options)
    assert not (tmp_path / "results").exists()


def test_a_folder_is_not_mixed_or_overwritten(run, tmp_path):
    run(seeds=1)
    with pytest.raises(FileExistsError, match="resume"):
        run()
    with pytest.raises(ValueError, match=r"ratio=1.0, not 2.0"):
        run(resume=True, ratio=2.0)
    assert len(run(force=True, ratio=2.0, seeds=1))
    with pytest.raises(FileNotFoundError, match="no finished cells"):
        collect_augmentation(tmp_path / "empty")


@pytest.fixture
def invoke(tmp_path):
    app = typer.Typer(cls=Commands)
    app.command()(augment_benchmark)

    @app.command()
    def other() -> None:
        """Make the first one a subcommand."""

    def call(*options, out="results"):
        given = ["augment-benchmark", "--data", "storms_atlantic"]
        given += ["--out", str(tmp_path / out), "--forecasters", "ridge"]
        return CliRunner().invoke(app, [*given, *options])

    return call


def test_the_command(invoke, tmp_path):
    options = ["--sizes", "25", "--seeds", "2", "--arms", "real+jitter,real+fresh real"]
    done = invoke(*options)
    assert done.exit_code == 0, done.output
    assert "storms_atlantic, ridge, 25 windows, wql, 2 seeds" in done.stdout
    assert "[2/2] storms_atlantic | ridge | 25 | seed 1" in done.stderr
    again = invoke(*options)
    assert again.exit_code == 2 and "--resume" in again.stderr
    resumed = invoke(*options, "--resume", "--quiet")
    assert (resumed.exit_code, resumed.stdout) == (0, "")


def test_the_command_reports_failures(invoke, monkeypatch):
    def refuse(self, train, validation, season, seed):
        raise RuntimeError("no luck")

    assert "whole numbers" in invoke("--sizes", "a,b").stderr
    monkeypatch.setattr(Ridge, "_fit", refuse)
    failed = invoke("--sizes", "25", "--seeds", "1", "--arms", "real+jitter")
    assert failed.exit_code == 1 and "every arm failed" in failed.stderr
    assert "RuntimeError: no luck" in failed.stderr
