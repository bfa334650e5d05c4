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
from gluonts_dualkl.evaluation.forecasting.summary import augmentation_gains
from gluonts_dualkl.evaluation.forecasting.table import main as table_main
from gluonts_dualkl.evaluation.forecasting.table import summarise

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
    whole = run("whole", seeds=3)

    class Killed(BaseException):
        pass

    def kill(cell, failure, done, total):
        assert (failure, total) == ("", 6)
        if done == 3:
            raise Killed

    with pytest.raises(Killed):  # while the second of three blocks is reported
        run("killed", seeds=3, progress=kill)
    killed = tmp_path / "killed"
    assert not (killed / TABLE).exists()
    times = {p: p.stat().st_mtime_ns for p in killed.glob("cells/*/*/*")}
    assert len(times) == 4
    done = []
    resumed = run(
        "killed", seeds=3, resume=True, progress=lambda *a: done.append(a[2:])
    )
    pd.testing.assert_frame_equal(whole, resumed)
    assert done == [(5, 6), (6, 6)]
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_the_number_of_processes_changes_nothing(run):
    options = {"forecasters": ["ridge"], "ratio": (1, 2)}
    pd.testing.assert_frame_equal(run("one", **options), run("two", jobs=2, **options))


def test_several_ratios_are_arms_beside_one_gate(run, tmp_path):
    run(forecasters=["ridge"], ratio=(2, 1))
    gains = pd.read_csv(tmp_path / "results" / GAINS)
    found = gains[gains["metric"] == "wql"].set_index(["arm", "ratio"])["mean_added"]
    assert found.to_dict() == {
        ("real", 0): 0,
        ("real+jitter", 1): 1,
        ("real+jitter", 2): 2,
        ("real+fresh real", 1): 1,
    }


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
        ({"jobs": 0}, "jobs: 0"),
        ({"ratio": ()}, "ratio: "),
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
    with pytest.raises(ValueError, match=r"ratio=\[1.0\], not \[2.0\]"):
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


def test_the_table_joins_folders_and_counts_halves(run, tmp_path, capsys):
    plan = {"forecasters": ["ridge"], "sizes": (25,)}
    run("one", arms=["real+jitter", "real+fresh real"], **plan)
    run("two", arms=["real+mixup"], ratio=2, **plan)
    folders = [str(tmp_path / name) for name in ("one", "two")]
    table = table_main([*folders, "--out", str(tmp_path / "table.csv")])
    assert len(table) == len(pd.read_csv(tmp_path / "table.csv")) == 2 * 4
    assert (table["num_seeds"] == 2).all()  # the real arm stands in both folders once
    assert "real+mixup" in capsys.readouterr().out
    gains = pd.DataFrame(
        {
            "forecaster": "ridge",
            "metric": "wql",
            "arm": ["real", "x", "x", "x", "x"],
            "ratio": [0.0, 1, 1, 1, 2],
            "change": [0, -0.1, -0.1, 0.02, 0],
            "worst_seed": [0, 0, 0, 0.3, 0.1],
            "gate": [True, True, False, True, True],
            "recovered": [0, 0.5, 0.9, -0.1, 0.4],
        }
    )
    found = summarise(gains).set_index("ratio")
    assert found.loc[1, ["cells", "open", "half"]].tolist() == [3, 2, 1]
    assert found.loc[1, ["change", "worst"]].tolist() == pytest.approx([-0.06, 0.02])
    assert found["worst_seed"].tolist() == [0.3, 0.1]
    assert found.loc[2, "half"] == 0


def test_the_worst_seed_is_the_one_harmed_most():
    rows = [
        {"arm": arm, "ratio": ratio, "seed": seed, "series": k, "value": value}
        for arm, ratio, values in (("real", 0.0, (1, 1, 1)), ("x", 1.0, (0.5, 1.2, 1)))
        for seed, value in enumerate(values)
        for k in range(4)
    ]
    about = {"forecaster": "ridge", "n_train": 9, "metric": "wql", "failure": ""}
    about |= {"num_real": 8, "num_added": 8}
    gains = augmentation_gains(pd.DataFrame(rows).assign(**about)).set_index("arm")
    assert gains.loc["x", "worst_seed"] == pytest.approx(0.2)
    assert gains.loc["real", "worst_seed"] == 0
