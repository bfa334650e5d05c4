import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, entries
from laws import ar1

from gluonts_dualkl import DualKLEstimator, DualKLGenerator, dataset_from_array
from gluonts_dualkl.generator import BLOCK


def test_sample_has_the_shape_and_units_of_the_data(generator):
    x = generator.sample(50, seed=1)
    assert x.shape == (50, 12, 2)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    real = generator.train_values
    assert abs(x.std() / real.std() - 1) < 0.3


def test_same_seed_same_series(generator):
    assert np.array_equal(generator.sample(5, seed=3), generator.sample(5, seed=3))
    assert not np.array_equal(generator.sample(5, seed=3), generator.sample(5, seed=4))


def test_series_do_not_depend_on_how_many_are_asked_for(generator):
    many = generator.sample(BLOCK + 10, seed=1)
    assert np.array_equal(generator.sample(3, seed=1), many[:3])
    assert np.array_equal(generator.sample(BLOCK + 1, seed=1), many[: BLOCK + 1])
    assert len(np.unique(many.reshape(len(many), -1), axis=0)) == len(many)


def test_global_random_state_is_left_alone(generator):
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    generator.sample(2, seed=1)
    DualKLEstimator(**SMALL).train(entries(20))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_thread_count_is_restored(generator):
    threads = torch.get_num_threads()
    generator.sample(2)
    assert torch.get_num_threads() == threads


def test_threads_draw_the_same_series(generator, two_threads):
    side_by_side = generator.sample(2 * BLOCK + 1, seed=1)
    torch.set_num_threads(1)
    assert np.array_equal(generator.sample(2 * BLOCK + 1, seed=1), side_by_side)


def test_entries_equal_the_sample(generator):
    drawn = list(generator.generate(4, seed=2))
    x = generator.sample(4, seed=2)
    for k, entry in enumerate(drawn):
        assert entry["target"].dtype == np.float32
        assert np.array_equal(entry["target"], x[k].T)
        assert entry["item_id"] == f"synthetic-{k}"
        assert isinstance(entry["start"], pd.Period)
        assert entry["start"].freqstr == "D"


def test_start_is_that_of_a_donor(generator):
    starts = {e["start"] for e in entries()}
    assert {e["start"] for e in generator.generate(60)} <= starts


def test_start_may_be_given(generator):
    start = pd.Period("2030-05-05", "D")
    assert all(e["start"] == start for e in generator.generate(3, start=start))


def test_zero_series(generator):
    assert list(generator.generate(0)) == []
    assert generator.sample(0).shape == (0, 12, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_series": -1}, "-1 series cannot be drawn"),
        ({"num_series": 3, "seed": -2}, "seed is -2"),
        ({"num_series": 3, "item_id_prefix": "real"}, "would repeat the training item"),
    ],
)
def test_bad_draws_raise_before_the_first_series(generator, arguments, message):
    with pytest.raises(ValueError, match=message):
        generator.generate(**arguments)


def test_streaming_holds_one_block(generator):
    stream = generator.generate(10**9, seed=0)
    assert next(stream)["item_id"] == "synthetic-0"


def test_log_ratio_reads_dependency(generator):
    real = generator.log_ratio(entries(60, seed=9))
    rng = np.random.default_rng(0)
    shuffled = entries(60, seed=9)
    for entry in shuffled:
        entry["target"] = rng.permuted(entry["target"], axis=1)
    assert real.shape == (60,)
    assert np.median(real) > np.median(generator.log_ratio(shuffled)) + 5


def test_log_ratio_rejects_other_channels(generator):
    with pytest.raises(ValueError, match="3 channels and the generator"):
        generator.log_ratio(entries(5, channels=3))


def test_divergence_levels_and_certificate_agree(generator):
    divergence, space = generator.divergence(), generator.dual_space()
    assert divergence.value == pytest.approx(space.levels.mean())
    assert set(divergence.per_leg) == {
        "gaussian",
        "elliptical",
        "recombination",
        "data",
    }
    assert [name for name, _, _ in generator.certificate] == ["recombination", "data"]
    assert sum(len(c.members) for c in space.clusters) == generator.num_series


def test_walk_visits_states_it_scores(generator):
    walk = generator.walk(num_steps=30, seed=1)
    assert len(walk.values) == len(walk.levels) == len(walk.steps) == len(walk.donors)
    assert walk.steps[0] == 0
    assert (np.diff(walk.steps) > 0).all()
    assert walk.values.shape[1:] == (12, 2)
    moved = [np.abs(a - b).max() for a, b in zip(walk.values, walk.values[1:])]
    assert max(moved) > 0


def test_copies_are_rare(generator):
    x = generator.sample(200, seed=5).reshape(200, -1)
    real = generator.train_values.reshape(generator.num_series, -1)
    nearest = np.sqrt(((x[:, None] - real) ** 2).sum(2)).min(1)
    assert (nearest > 1e-3).all()


def test_info_is_plain(generator):
    info = json.loads(json.dumps(generator.info()))
    assert info["num_series"] == 40
    assert info["length"] == 12


def test_round_trip_in_a_fresh_process(generator, tmp_path):
    generator.serialize(tmp_path / "model")
    code = (
        "import sys, numpy as np\n"
        "from gluonts_dualkl import DualKLGenerator\n"
        "g = DualKLGenerator.deserialize(sys.argv[1], device='cpu')\n"
        "np.savez(sys.argv[2], x=g.sample(7, seed=1), levels=g.dual_space().levels,\n"
        "         value=g.divergence().value)\n"
    )
    out = tmp_path / "out.npz"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model"), str(out)], check=True
    )
    saved = np.load(out)
    assert np.array_equal(saved["x"], generator.sample(7, seed=1))
    assert np.array_equal(saved["levels"], generator.dual_space().levels)
    assert saved["value"] == generator.divergence().value


def test_static_and_dynamic_features_round_trip(tmp_path):
    data = entries(
        24,
        feat_static_cat=lambda k: np.array([k % 3]),
        feat_static_real=lambda k: np.array([0.5, k]),
        feat_dynamic_real=lambda k: np.full((1, 12), k, np.float32),
    )
    trained = DualKLEstimator(**SMALL).train(data)
    trained.serialize(tmp_path / "model")
    loaded = DualKLGenerator.deserialize(tmp_path / "model")
    by_start = {int(e["feat_static_real"][1]): e for e in data}
    for a, b in zip(trained.generate(9), loaded.generate(9), strict=True):
        assert list(a) == list(b)
        donor = by_start[int(a["feat_static_real"][1])]
        for name in ("feat_static_cat", "feat_static_real", "feat_dynamic_real"):
            assert np.array_equal(a[name], donor[name])
            assert np.array_equal(a[name], b[name])
        assert a["start"] == donor["start"]


@pytest.mark.parametrize("freq", ["B", "W-MON", "6h", "15min", "M", "Q-NOV", "Y"])
def test_start_periods_survive_saving(freq, tmp_path):
    data = dataset_from_array(ar1(24, 8, 1, 0.5, 0), freq, start="2021-03-01")
    trained = DualKLEstimator(**SMALL).train(data)
    trained.serialize(tmp_path / "model")
    loaded = DualKLGenerator.deserialize(tmp_path / "model")
    assert loaded.windows.starts == trained.windows.starts
    assert next(loaded.generate(1))["start"] == data[0]["start"]


@pytest.fixture
def folder(generator, tmp_path):
    generator.serialize(tmp_path / "model")
    return tmp_path / "model"


def test_existing_folder_is_kept_without_force(generator, folder):
    with pytest.raises(FileExistsError, match="exists"):
        generator.serialize(folder)
    generator.serialize(folder, force=True)


def test_folder_of_something_else_is_never_replaced(generator, tmp_path):
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.txt").write_text("dear")
    with pytest.raises(FileExistsError, match="not ours"):
        generator.serialize(tmp_path / "papers", force=True)
    assert (tmp_path / "papers" / "thesis.txt").read_text() == "dear"


def test_no_model_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no model at"):
        DualKLGenerator.deserialize(tmp_path)


def damage(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes()[:-200])


@pytest.mark.parametrize(
    "breaking",
    [
        lambda f: damage(f, "generator-state.pt"),
        lambda f: damage(f, "generator.json"),
        lambda f: (f / "generator-state.pt").unlink(),
        lambda f: (f / "generator.json").write_text("{}"),
        lambda f: (f / "generator-state.pt").write_bytes(b"nothing"),
        lambda f: (f / "gluonts-config.json").write_text("["),
    ],
    ids=["short state", "short facts", "no state", "empty facts", "noise", "config"],
)
def test_damaged_folder(folder, breaking):
    breaking(folder)
    with pytest.raises(ValueError, match="damaged"):
        DualKLGenerator.deserialize(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "has format 99 .* upgrade"),
        ({"type": "other.Thing"}, "holds a other.Thing"),
    ],
)
def test_foreign_folder(folder, change, message):
    path = folder / "gluonts-config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        DualKLGenerator.deserialize(folder)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_loading_runs_no_code(folder):
    torch.save({"marginals": Evil()}, folder / "generator-state.pt")
    with pytest.raises(ValueError, match="damaged"):
        DualKLGenerator.deserialize(folder)
