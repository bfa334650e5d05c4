"""The benchmark: resumed equals uninterrupted, failures are rows, backends agree."""

import json
import os

import numpy as np
import pandas as pd
import pytest

from gluonts_dualkl.evaluation.baselines import BASELINES
from gluonts_dualkl.evaluation.baselines.classical import Mixup
from gluonts_dualkl.evaluation.cell import COLUMNS
from gluonts_dualkl.evaluation.runner import collect, run_benchmark
from gluonts_dualkl.evaluation.sources import find_sources

COST = ["seconds_fit", "seconds_sample", "peak_memory_mb"]
PLAN = {"generators": ["mixup", "shrunk_gaussian"], "seeds": 2, "n_train": 40}


def quick_score(train, held_out, synthetic, seed, fast):
    """Two numbers in place of all the scores."""
    values = {
        "mean": synthetic.mean() - held_out.mean(),
        "spread": synthetic.std() / train.std(),
    }
    return pd.DataFrame(
        {
            "metric": list(values),
            "value": list(values.values()),
            "lower": np.nan,
            "upper": np.nan,
            "floor": 0.0,
            "ceiling": 1.0,
            "verdict": "as real",
        }
    )


@pytest.fixture
def run(tmp_path):
    def call(out="results", data="storms_atlantic,fx_ecb", **options):
        given = {"score": quick_score, **PLAN, **options}
        return run_benchmark(data, tmp_path / out, **given)

    return call


def same(first, second):
    pd.testing.assert_frame_equal(first.drop(columns=COST), second.drop(columns=COST))


def test_one_long_table(run, tmp_path):
    table = run()
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 2 * 2 * 2
    assert (table["failure"] == "").all()
    assert table[["value", *COST]].notna().all(axis=None)
    assert (table["peak_memory_mb"] > 50).all()
    assert "numpy" in json.loads(table["versions"].iloc[0])
    same(table, pd.read_parquet(tmp_path / "results" / "scores.parquet"))
    same(table, collect(tmp_path / "results"))
    assert table.groupby("metric")["value"].nunique().eq(8).all()


def test_resumed_equals_uninterrupted(run, tmp_path):
    whole = run("whole")

    class Killed(BaseException):
        pass

    def kill(cell, failure, done, total):
        assert (total, failure) == (8, "")
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        run("killed", progress=kill)
    killed = tmp_path / "killed"
    files = {path: path.stat().st_mtime_ns for path in killed.glob("cells/*/*/*")}
    assert len(files) == 3
    assert not (killed / "scores.parquet").exists()
    done = []
    resumed = run("killed", resume=True, progress=lambda *a: done.append(a[2:]))
    same(whole, resumed)
    assert done == [(k, 8) for k in range(4, 9)]
    for path, time in files.items():
        assert path.stat().st_mtime_ns == time


def test_more_may_be_asked_for_on_resuming(run):
    run(seeds=1, generators=["mixup"])
    grown = run(seeds=2, resume=True)
    same(grown, run("whole"))


def test_a_damaged_cell_and_other_data_are_computed_again(run, tmp_path):
    whole = run(data="storms_atlantic")
    first, second, *_ = sorted((tmp_path / "results").glob("cells/*/*/*.parquet"))
    first.write_bytes(b"half a file")
    done = []
    again = run(
        data="storms_atlantic", resume=True, progress=lambda *a: done.append(a[0].path)
    )
    same(whole, again)
    assert done == [first]
    second.unlink()
    same(whole, run(data="storms_atlantic", resume=True))


def test_other_data_are_computed_again(run, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    results = []
    for seed in (0, 1):
        write_panel(folder / "panel.csv", seed)
        results.append(run(data=folder, resume=seed == 1, n_train=20))
    assert (results[0]["value"] != results[1]["value"]).all()


def broken_score(*args, **kwargs):
    raise RuntimeError("scores\nfail")


class Broken(Mixup):
    def _fit(self, windows, validation):
        raise MemoryError("too large")


def test_a_failure_is_a_row_and_stops_nothing(run, monkeypatch):
    whole = run("whole", generators=["mixup"])
    monkeypatch.setitem(BASELINES, "broken", Broken)
    table = run(generators=["broken", "mixup"])
    failed = table[table["generator"] == "broken"]
    assert len(failed) == 4
    assert (failed["failure"] == "MemoryError: too large").all()
    assert (failed["metric"] == "").all() and failed["value"].isna().all()
    rest = table[table["generator"] == "mixup"].reset_index(drop=True)
    same(rest, whole)

    monkeypatch.setitem(BASELINES, "broken", Mixup)
    again = {"generators": ["broken", "mixup"], "resume": True}
    assert (run(**again)["failure"] != "").sum() == 4
    assert (run(**again, retry=True)["failure"] == "").all()


def test_scores_that_fail_are_a_row_too(run):
    table = run(generators=["mixup"], seeds=1, score=broken_score)
    assert (table["failure"] == "RuntimeError: scores fail").all()
    assert table["seconds_fit"].notna().all()


def test_a_data_set_that_fails_stops_nothing(run, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_panel(folder / "good.csv")
    (folder / "bad.csv").write_text("item_id,timestamp,x\na,yesterday,1\n")
    table = run(data=folder, n_train=20)
    assert set(table.loc[table["failure"] != "", "dataset"]) == {"bad"}
    assert set(table.loc[table["failure"] == "", "dataset"]) == {"good"}
    with pytest.raises(ValueError, match=r"bad\.csv"):
        run("none", data=folder, only=["bad"])


def deadly_score(train, held_out, synthetic, seed, fast):
    """End the process that meets a copy of a training series."""
    if (synthetic[0] == train).all((1, 2)).any():
        os._exit(3)
    return quick_score(train, held_out, synthetic, seed, fast)


@pytest.mark.slow
def test_a_worker_that_dies_is_a_row(run):
    names = ["mixup", "training_copies", "shrunk_gaussian"]
    table = run(generators=names, score=deadly_score, jobs=2, data="storms_atlantic")
    dead = table["generator"] == "training_copies"
    assert table.loc[dead, "failure"].str.startswith("TerminatedWorkerError").all()
    assert (dead.sum(), len(table)) == (2, 10)
    assert (table.loc[~dead, "failure"] == "").all()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_backends_agree(run, backend):
    if backend == "dask":
        pytest.importorskip("distributed")
    same(run("here"), run("there", jobs=2, backend=backend))


@pytest.mark.slow
def test_a_running_dask_cluster():
    distributed = pytest.importorskip("distributed")
    from joblib import Parallel, delayed

    from gluonts_dualkl.evaluation.backends import running_backend

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        with running_backend("dask", 1, cluster.scheduler_address):
            pids = Parallel()(delayed(process_id)(k) for k in range(8))
    assert len(set(pids)) >= 1


def process_id(k):
    return os.getpid()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "spark"}, "no backend 'spark'"),
        ({"jobs": 0}, "jobs: 0"),
        ({"scheduler": "tcp://host:8786"}, "scheduler address is for"),
        ({"generators": ["gan"]}, "no generator 'gan'"),
        ({"seeds": 0}, "seeds: 0"),
        ({"n_train": 3}, "n_train: 3"),
        ({"fit_seconds": 0.0}, "fit_seconds: 0.0, expected more than 0"),
        ({"only": ["moon"]}, "no data set moon"),
        ({"data": "moon"}, "no folder 'moon'"),
    ],
)
def test_bad_requests(run, tmp_path, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(**options)
    assert not (tmp_path / "results").exists()


def test_folders_are_guarded(run, tmp_path):
    run(seeds=1, generators=["mixup"], data="storms_atlantic")
    with pytest.raises(FileExistsError, match="resume"):
        run()
    with pytest.raises(ValueError, match="n_train=40, not 30"):
        run(resume=True, n_train=30)
    forced = run(force=True, n_train=30, data="fx_ecb")
    assert set(forced["dataset"]) == {"fx_ecb"}
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("precious")
    for options in ({"force": True}, {"resume": True}):
        with pytest.raises(FileExistsError, match="not ours"):
            run("foreign", **options)
    with pytest.raises(FileNotFoundError, match="no finished cells"):
        collect(tmp_path / "foreign")


def write_panel(path, seed=0, items=30, length=12):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "item_id": np.repeat([f"i{k}" for k in range(items)], length),
            "timestamp": np.tile(
                pd.date_range("2024-01-01", periods=length, freq="D"), items
            ),
            "x": rng.normal(size=items * length),
            "y": rng.normal(size=items * length),
        }
    )
    write = frame.to_parquet if path.suffix == ".parquet" else frame.to_csv
    write(path, index=False)


def test_folder_of_tables(tmp_path):
    write_panel(tmp_path / "panel.csv")
    write_panel(tmp_path / "record.parquet", items=1, length=600)
    write_panel(tmp_path / "few.csv", items=3, length=200)
    (tmp_path / "notes.txt").write_text("nothing")
    few, panel, record = find_sources(tmp_path)
    assert (few.name, panel.name, record.name) == ("few", "panel", "record")
    train, held_out = panel.split(0)
    assert train.shape == held_out.shape == (15, 12, 2)
    nested, other = panel.split(0, 7)
    np.testing.assert_array_equal(nested, train[:7])
    np.testing.assert_array_equal(other, held_out)
    with pytest.raises(ValueError, match=r"1 whole series.*--length"):
        record.split(0)

    few, panel, record = find_sources(tmp_path, length=6)
    assert panel.split(0)[0].shape == (30, 6, 2)
    for source in (few, record):
        train, held_out = source.split(0)
        assert train.shape[1:] == held_out.shape[1:] == (6, 2)
        assert 25 < len(train) < 55


def test_folder_with_a_loader(tmp_path):
    (tmp_path / "load_data.py").write_text(
        "import numpy as np\n"
        "def names():\n    return ['b', 'a']\n"
        "def split(name, seed, n_train=None):\n"
        "    x = np.random.default_rng(seed).normal(size=(20, 8, 1))\n"
        "    return x[:12][:n_train], x[12:], {}\n"
    )
    sources = find_sources(tmp_path, only=["a"])
    assert [source.name for source in sources] == ["a"]
    assert sources[0].split(0, 200)[0].shape == (12, 8, 1)
    assert sources[0].split(0, 5)[0].shape == (5, 8, 1)
    (tmp_path / "load_data.py").write_text("names = list\n")
    with pytest.raises(ValueError, match="does not offer split"):
        find_sources(tmp_path)


def test_random_split():
    [own], [source] = find_sources("fx_ecb"), find_sources("fx_ecb", split="random")
    sides, mixed = own.split(0), source.split(0)
    assert [len(side) for side in mixed] == [len(side) for side in sides]
    names = [{row.tobytes() for row in np.concatenate(pair)} for pair in (sides, mixed)]
    assert names[0] == names[1] and len(names[0]) == sum(map(len, sides))
    # as near to either side as to the other, which blocks of time are not
    shifts = [abs(a.mean((0, 1)) - b.mean((0, 1))).max() for a, b in (sides, mixed)]
    assert shifts[1] < shifts[0]
    np.testing.assert_array_equal(source.split(0, 50)[0], mixed[0][:50])
    assert not np.array_equal(source.split(1)[0], mixed[0])
    with pytest.raises(ValueError, match="split: 'time', expected one of own, random"):
        find_sources("fx_ecb", split="time")


@pytest.mark.parametrize("name", ["storms_atlantic", "fx_ecb"])
def test_bundled_sets(name):
    [source] = find_sources(name)
    train, held_out = source.split(0, 50)
    assert len(train) == 50 and len(held_out) > 50
    assert {row.tobytes() for row in train}.isdisjoint(
        row.tobytes() for row in held_out
    )
    assert [s.name for s in find_sources("bundled")] == ["storms_atlantic", "fx_ecb"]


def test_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"holds no \.csv"):
        find_sources(tmp_path)
