"""The commands evaluate and benchmark: words, files, exit codes, interruption."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from test_cli import assert_fails, run

STEPS = 12
COLUMNS = ["--item-id", "place", "--timestamp", "day", "--channels", "x,y"]


def write_table(path, values, names=("x", "y")):
    """Long CSV file of series ``(n, T, 2)`` with columns of other names."""
    num, length, _ = values.shape
    frame = pd.DataFrame(
        {
            "place": np.repeat([f"p{k}" for k in range(num)], length),
            "day": np.tile(pd.date_range("2024-01-01", periods=length), num),
            names[0]: values[..., 0].ravel(),
            names[1]: values[..., 1].ravel(),
            "note": 1.0,
        }
    )
    frame.to_csv(path, index=False)
    return path


def draw(num, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num, STEPS, 2)).cumsum(1)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    train = draw(40, 0)
    return {
        "train": write_table(folder / "train.csv", train),
        "held_out": write_table(folder / "test.csv", draw(40, 1)),
        "copies": write_table(folder / "copies.csv", train),
        "three": write_table(folder / "three.csv", draw(3, 2)),
        "scaled": write_table(folder / "scaled.csv", 1000 * draw(40, 2)),
        "renamed": write_table(folder / "renamed.csv", draw(40, 2), ("x", "z")),
    }


def judge(tables, synthetic, out, *options):
    return run(
        "evaluate",
        *("--train", tables["train"], "--held-out", tables["held_out"]),
        *("--synthetic", tables.get(synthetic, synthetic), "--out", out),
        *("--fast", *COLUMNS, *options),
    )


@pytest.fixture(scope="module")
def judged(tables, tmp_path_factory):
    out = tmp_path_factory.mktemp("judged") / "report"
    return out, judge(tables, "copies", out)


def test_a_memoriser_is_called_one(judged):
    out, result = judged
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Memorisation: ")
    for part in ("dcr_share", "copies train", "c2st_auc_trees", "95 % interval"):
        assert part in result.stdout
    assert result.stdout.rstrip().endswith(f"See {out / 'index.html'}")


def test_scores_and_page_are_written(judged):
    out, _ = judged
    names = {path.name for path in out.iterdir()}
    assert names == {"scores.csv", "scores.parquet", "index.html"}
    table = pd.read_parquet(out / "scores.parquet")
    columns = ["metric", "value", "lower", "upper", "floor", "ceiling", "verdict"]
    assert list(table.columns) == columns
    pd.testing.assert_frame_equal(
        table, pd.read_csv(out / "scores.csv"), check_exact=False, atol=1e-12
    )
    assert "<html" in (out / "index.html").read_text()


def test_the_report_is_replaced_by_force_only(judged, tables):
    out, _ = judged
    assert_fails(judge(tables, "copies", out), 2, "exists", "--force")
    before = (out / "scores.csv").read_text()
    result = judge(tables, "copies", out, "--force", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert (out / "scores.csv").read_text() == before


@pytest.mark.parametrize(
    ("synthetic", "options", "parts"),
    [
        ("none.csv", (), ["none.csv"]),
        ("three", (), ["synthetic", "3 series"]),
        ("scaled", (), ["synthetic", "units"]),
        ("renamed", (), ["renamed.csv", "'y'"]),
        ("copies", ("--length", 13), ["train.csv", "13"]),
    ],
)
def test_bad_series_are_one_sentence(tables, tmp_path, synthetic, options, parts):
    result = judge(tables, synthetic, tmp_path / "report", *options)
    assert_fails(result, 2, *parts)
    assert list(tmp_path.iterdir()) == []


def test_series_are_cut_into_windows(tables, tmp_path):
    result = judge(tables, "copies", tmp_path / "report", "--length", 6)
    assert result.exit_code == 0, result.output
    assert "copies train" in result.stdout


def benchmark(out, *options):
    return run(
        "benchmark",
        *("--data", "storms_atlantic", "--generators", "mixup", "--n-train", 30),
        *("--seeds", 1, "--fast", "--out", out, *options),
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "results"
    return out, benchmark(out)


def test_a_benchmark_in_words_and_files(results):
    out, result = results
    assert result.exit_code == 0, result.output
    assert "[1/1] storms_atlantic | mixup | seed 0" in result.stderr
    for part in ("storms_atlantic", "mixup", "real series", "AUC"):
        assert part in result.stdout
    assert result.stdout.rstrip().endswith(f"See {out / 'index.html'}")
    table = pd.read_parquet(out / "scores.parquet")
    assert set(table["generator"]) == {"mixup"} and (table["failure"] == "").all()
    assert "<html" in (out / "index.html").read_text()


def test_results_are_resumed_or_replaced_on_request(results):
    out, _ = results
    before = pd.read_parquet(out / "scores.parquet")
    assert_fails(benchmark(out), 2, "exists", "--force", "--resume")
    result = benchmark(out, "--resume", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    # costs too: nothing was computed again
    pd.testing.assert_frame_equal(before, pd.read_parquet(out / "scores.parquet"))
    assert_fails(benchmark(out, "--resume", "--n-train", 40), 2, "n_train=30")
    assert_fails(benchmark(out, "--resume", "--split", "random"), 2, "split=own")


def test_a_random_split_is_named_on_the_page(results, tmp_path):
    out, _ = results
    result = benchmark(tmp_path / "out", "--split", "random")
    assert result.exit_code == 0, result.output
    pages = [(path / "index.html").read_text() for path in (out, tmp_path / "out")]
    assert ["windows split at random" in page for page in pages] == [False, True]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--generators", "gan"), ["gan", "dualkl"]),
        (("--data", "moon"), ["moon", "storms_atlantic"]),
        (("--split", "time"), ["time", "own, random"]),
        (("--backend", "spark"), ["spark", "loky"]),
        (("--jobs", 0), ["--jobs"]),
        (("--only", "moon"), ["moon"]),
    ],
)
def test_bad_requests_are_one_sentence(tmp_path, options, parts):
    assert_fails(benchmark(tmp_path / "out", *options), 2, *parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flags", [("--force",), ("--resume",)])
def test_a_foreign_folder_is_never_touched(tmp_path, flags):
    precious = tmp_path / "out" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    assert_fails(benchmark(precious.parent, *flags), 2, "out")
    assert [path.name for path in precious.parent.iterdir()] == ["thesis.tex"]


def test_all_failed_is_a_failure(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no scores")

    monkeypatch.setattr("gluonts_dualkl.evaluation.scoring.evaluate_generator", fail)
    result = benchmark(tmp_path / "out")
    assert result.exit_code == 1
    assert "Failed: storms_atlantic, mixup, 0: RuntimeError: no scores" in result.stdout
    assert "every cell failed" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_it_says_how_to_go_on(tmp_path, jobs):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gluonts_dualkl", "benchmark", "--fast"]
    command += ["--data", "storms_atlantic", "--out", str(out), "--jobs", str(jobs)]
    command += ["--generators", "mixup,jitter,smote", "--n-train", "30"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    )
    try:
        while process.poll() is None and not list(out.glob("cells/*/*/*.parquet")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].endswith("same command and --resume.")
    assert not (out / "scores.parquet").exists()

    done = subprocess.run([*command, "--resume", "--quiet"], env=environment)
    assert done.returncode == 0
    table = pd.read_parquet(out / "scores.parquet")
    assert len(table[["generator", "seed"]].drop_duplicates()) == 9
