"""Mixtures are measured in windows, read again alike, and fit GluonTS's batches."""

import pickle

import numpy as np
import pandas as pd
import pytest
from gluonts.dataset.common import ListDataset
from gluonts.itertools import Cyclic
from gluonts.transform import ExpectedNumInstanceSampler

from gluonts_dualkl.augmentation import SyntheticDataset, augment
from gluonts_dualkl.drawing import Drawing


def series(num, length=30, channels=None, prefix="real", freq="D", **extra):
    rng = np.random.default_rng([num, length])
    shape = (length,) if channels is None else (channels, length)
    return [
        {
            "item_id": f"{prefix}{k}",
            "start": pd.Period("2024-01-01", freq) + k,
            "target": rng.standard_normal(shape).astype(np.float32),
            **{name: value(k) for name, value in extra.items()},
        }
        for k in range(num)
    ]


def names(dataset):
    return [entry["item_id"] for entry in dataset]


def is_made(entry):
    return entry["item_id"].startswith("made")


def assert_same(first, second):
    first, second = list(first), list(second)
    assert names(first) == names(second)
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_array_equal(one["target"], other["target"])
        assert one["start"] == other["start"]


class Endless:
    """Counts how many synthetic entries were read in the last pass."""

    def __init__(self, entries):
        self.entries, self.read = entries, 0

    def __len__(self):
        return len(self.entries)

    def __iter__(self):
        self.read = 0
        for entry in self.entries:
            self.read += 1
            yield entry


def test_synthetic_dataset_is_the_generators_draw(generator):
    dataset = SyntheticDataset(generator, 5, seed=3)
    assert len(dataset) == 5
    assert_same(dataset, generator.generate(5, seed=3))
    assert_same(dataset, dataset)
    assert_same(dataset, pickle.loads(pickle.dumps(dataset)))
    assert_same(list(SyntheticDataset(generator, 300, seed=3))[:5], dataset)
    assert list(SyntheticDataset(generator, 0)) == []
    moved = SyntheticDataset(generator, 2, 0, "new-", pd.Period("2030-01-01", "D"))
    assert names(moved) == ["new-0", "new-1"]
    assert all(entry["start"].year == 2030 for entry in moved)


def test_synthetic_dataset_draws_nothing_when_made(generator, monkeypatch):
    monkeypatch.setattr(Drawing, "blocks", lambda *a: pytest.fail("drawn too early"))
    assert len(SyntheticDataset(generator, 10**6)) == 10**6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_series": -1}, "cannot be drawn"),
        ({"seed": -1}, "seed is -1"),
        ({"item_id_prefix": "real"}, "would repeat the training item"),
    ],
)
def test_synthetic_dataset_refuses_at_once(generator, options, words):
    with pytest.raises(ValueError, match=words):
        SyntheticDataset(generator, **{"num_series": 3, **options})


def test_with_a_generator_end_to_end(generator):
    real = series(20, 12, 2, prefix="item")
    mixed = augment(real, SyntheticDataset(generator, 40), ratio=2, seed=1)
    assert len(mixed) == 60
    assert mixed.ratio == 2
    assert_same(mixed, pickle.loads(pickle.dumps(mixed)))
    assert len(set(names(mixed))) == 60
    assert {entry["target"].shape for entry in mixed} == {(2, 12)}


@pytest.mark.parametrize("ratio", [0.25, 1, 3])
@pytest.mark.parametrize("length", [12, 30, 200])
def test_ratio_counts_windows(ratio, length):
    """Windows as a GluonTS sampler finds them, by its own bounds."""
    horizon = 6
    sampler = ExpectedNumInstanceSampler(num_instances=1, min_future=horizon)
    real = series(10, 60)
    made = series(600, length, prefix="made")
    mixed = augment(real, made, ratio, prediction_length=horizon)
    offers = {False: 0, True: 0}
    for entry in mixed:
        first, last = sampler._get_bounds(entry["target"])
        offers[is_made(entry)] += last - first + 1
    assert (mixed.real_windows, mixed.synthetic_windows) == tuple(offers.values())
    nearest = (length - horizon + 1) / 2
    assert abs(offers[True] - ratio * offers[False]) <= nearest


def test_a_sampler_draws_the_ratio():
    """Two-sided z-test of the share of synthetic windows among those drawn."""
    source = augment(series(5, 300), series(100, 60, prefix="made"), 0.5)
    mixed = list(source)
    sampler = ExpectedNumInstanceSampler(num_instances=1, min_future=1)
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    drawn = np.zeros(2, int)
    for entry, _ in zip(Cyclic(mixed), range(20_000)):
        drawn[int(is_made(entry))] += len(sampler(entry["target"]))
    np.random.set_state(state)  # noqa: NPY002
    total, share = drawn.sum(), 1 / (1 + 1 / source.ratio)
    assert total > 5000
    assert abs(drawn[1] / total - share) < 4 * np.sqrt(share * (1 - share) / total)


def test_zero_is_the_real_data_alone():
    real = series(7)
    made = Endless(series(3, prefix="made"))
    mixed = augment(real, made, 0)
    assert [id(entry) for entry in mixed] == [id(entry) for entry in real]
    assert (len(mixed), mixed.ratio, made.read) == (7, 0, 0)


def test_order_is_mixed_by_the_seed_and_nested_in_the_ratio():
    real, made = series(50), series(100, prefix="made")
    first, again = augment(real, made, 1, seed=1), augment(real, made, 1, seed=1)
    assert_same(first, again)
    assert_same(first, first)
    assert names(augment(real, made, 1, seed=2)) != names(first)
    for kind in (is_made, lambda entry: not is_made(entry)):
        chosen = [entry["item_id"] for entry in first if kind(entry)]
        assert chosen == sorted(chosen, key=lambda name: int(name[4:]))
    half = sum(map(is_made, list(first)[:50]))
    assert 10 < half < 40  # hypergeometric: 25 with deviation 2.5
    more = set(names(augment(real, made, 2)))
    assert set(names(first)) < more


def test_reads_only_what_it_takes():
    made = Endless(series(100, prefix="made"))
    mixed = augment(series(10), made, 0.5)
    list(mixed)
    assert made.read == 5


def test_taken_names_are_changed():
    real = series(3)
    made = series(3) + series(3)
    found = names(augment(real, made, 2))
    assert len(set(found)) == 9
    assert sorted(found) == sorted(
        [f"{'synthetic-' * k}real{j}" for k in range(3) for j in range(3)]
    )


def test_fields_are_those_of_the_real_data():
    cat = {"feat_static_cat": lambda k: np.array([k % 3])}
    more = {**cat, "feat_dynamic_real": lambda k: np.zeros((2, 30)), "note": str}
    made = series(8, prefix="made", **more)
    mixed = list(augment(series(8, **cat), made))
    assert {tuple(sorted(e)) for e in mixed} == {
        ("feat_static_cat", "item_id", "start", "target")
    }
    unnamed = [{k: v for k, v in e.items() if k != "item_id"} for e in series(8)]
    assert all("item_id" not in entry for entry in augment(unnamed, made))
    assert "note" in made[0]


def test_any_gluonts_dataset_will_do():
    real = ListDataset(
        [{"start": "2024-01-01", "target": np.arange(9.0)} for _ in range(4)], "D"
    )
    assert len(list(augment(real, series(9, 9, prefix="made")))) == 8


CODES = {"feat_static_cat": lambda k: np.array([k % 3])}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ratio": -1}, "ratio is -1; give"),
        ({"ratio": np.nan}, "ratio is nan"),
        ({"ratio": np.inf}, "ratio is inf"),
        ({"seed": -1}, "seed is -1"),
        ({"prediction_length": 0}, "prediction_length is 0"),
        ({"prediction_length": 31}, "no real series has the 31 steps"),
        ({"real": []}, "real is empty"),
        ({"real": iter(series(3))}, "real is a list_iterator .* read again"),
        ({"synthetic": (e for e in series(3))}, "synthetic is a generator"),
        ({"synthetic": None}, "synthetic is a NoneType"),
        ({"ratio": 3}, "asks for 900 synthetic windows .* up to 2"),
        ({"synthetic": []}, "0 synthetic series offer 0"),
        ({"synthetic": series(20, freq="h")}, "freq 'h' and the real series 'D'"),
        ({"synthetic": series(20, channels=1)}, r"'target' of .* has size \(1,\)"),
        ({"real": series(10, **CODES)}, "has no 'feat_static_cat'"),
        ({"real": [{"target": np.ones(3)}]}, "real entry 0 has no 'start'"),
        (
            {"real": [{"target": np.ones(3), "start": pd.Timestamp("2024")}]},
            "is a Timestamp, and GluonTS trains on pandas Periods",
        ),
        ({"real": series(9) + series(1, **CODES)}, "which the first real entry has"),
        ({"real": series(9) + series(1, channels=2)}, r"real entry 9 has size \(2,\)"),
    ],
)
def test_errors_say_how_to_mend(arguments, words):
    given = {"real": series(10), "synthetic": series(20, prefix="made"), **arguments}
    with pytest.raises(ValueError, match=words):
        augment(**given)


def test_unknown_codes_are_refused_while_reading():
    made = series(10, prefix="made", feat_static_cat=lambda k: np.array([k // 9 * 7]))
    mixed = augment(series(10, **CODES), made)
    with pytest.raises(ValueError, match="'made9' holds a code above"):
        list(mixed)
