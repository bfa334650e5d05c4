"""What is done in blocks gives what is done at once, and the table of sizes."""

import json
import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from laws import ar1

from gluonts_dualkl.critics import linear
from gluonts_dualkl.critics.linear import StatisticsFeatures
from gluonts_dualkl.evaluation.checks import sizes
from gluonts_dualkl.laws import gaussian, recombination, references, statistics
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.laws.references import GaussianReference, State, draw_in_blocks
from gluonts_dualkl.laws.statistics import (
    MAX_PAIRS,
    series_statistics,
    strongest_pairs,
)
from gluonts_dualkl.models import base
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.walks import copies, samplers
from gluonts_dualkl.walks.samplers import draw_candidates, metropolis


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def z():
    return torch.as_tensor(ar1(60, 12, 2, 0.7, seed=1))


@pytest.fixture(scope="module")
def law(z):
    return CausalGaussian.fit(z, 2, 100.0, 1e-2)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("numbers", [1, 2000])
def test_gaussian_fitted_by_blocks_of_time_is_the_same(z, order, numbers, monkeypatch):
    whole = CausalGaussian.fit(z, order, 30.0, 1e-2)
    expected = whole.log_ratio(z)
    monkeypatch.setattr(gaussian, "BLOCK_NUMBERS", numbers)
    law = CausalGaussian.fit(z, order, 30.0, 1e-2)
    for name, tensor in whole.state().items():
        torch.testing.assert_close(law.state()[name], tensor, msg=name)
    torch.testing.assert_close(law.log_ratio(z), expected)


def test_blocks_select_the_same_gaussian(z, monkeypatch):
    whole = CausalGaussian.select(z, seeded())
    monkeypatch.setattr(gaussian, "BLOCK_NUMBERS", 2000)
    law = CausalGaussian.select(z, seeded())
    assert law.order == whole.order
    assert torch.equal(law.shrinkage, whole.shrinkage)


def test_selected_gaussian_has_the_best_held_out_likelihood(z):
    """Against each neighbour on the grids, scored by the textbook formula."""
    fold = torch.randperm(len(z), generator=seeded()) % gaussian.FOLDS

    def score(*setting):
        laws = [CausalGaussian.fit(z[fold != k], *setting) for k in range(5)]
        return sum(
            float(law.log_ratio(z[fold == k]).sum()) for k, law in enumerate(laws)
        )

    law = CausalGaussian.select(z, seeded())
    best = (law.order, *law.shrinkage.tolist())
    grids = ((1, 2, 3, 5, 8), gaussian.PSEUDO_COUNTS, gaussian.RIDGES)
    for place, grid in enumerate(grids):
        for value in grid:
            other = (*best[:place], value, *best[place + 1 :])
            assert score(*other) <= score(*best) + 1e-6


@pytest.mark.parametrize("numbers", [1, 500, 10**7])
def test_nearest_neighbours_by_blocks(z, numbers, monkeypatch):
    monkeypatch.setattr(copies, "BLOCK_NUMBERS", numbers)
    monkeypatch.setattr(recombination, "BLOCK_NUMBERS", numbers)
    flat = z.flatten(1).double().numpy()
    apart = np.linalg.norm(flat[:, None] - flat, axis=2)
    beside = copies.Neighbours(z[20:])
    np.testing.assert_allclose(
        beside.nearest(z[:20]), apart[:20, 20:].min(1), rtol=1e-3
    )
    assert beside.nearest_rows(z[:20]).tolist() == apart[:20, 20:].argmin(1).tolist()
    np.fill_diagonal(apart, np.inf)
    expected = np.quantile(apart.min(1), copies.COPY_QUANTILE)
    assert copies.CopyLimits.of(copies.Neighbours(z)).distance == pytest.approx(
        expected, rel=1e-3
    )
    first = np.linalg.norm(z[:, None, 0].numpy() - z[:, 0].numpy(), axis=2)
    np.fill_diagonal(first, np.inf)
    near = recombination._neighbours(z[:, 0], torch.arange(len(z)), 3).numpy()
    assert (np.sort(near, 1) == np.sort(first.argsort(1)[:, :3], 1)).all()
    series = torch.arange(len(z)) // 2
    near = recombination._neighbours(z[:, 0], series, 3)
    assert (series[near] != series[:, None]).all()


def test_log_ratio_by_blocks_is_the_same(monkeypatch):
    values = np.random.default_rng(0).standard_normal((7, 3, 2)).astype(np.float32)
    seen = []

    def of_scores(scores):
        seen.append(len(scores))
        return {"a": scores.sum((1, 2)), "b": scores[:, 0, 0]}

    model = SimpleNamespace(
        train=torch.zeros(1),
        marginals=SimpleNamespace(to_normal=lambda x: 2 * x),
        log_ratio_of_scores=of_scores,
    )
    monkeypatch.setattr(base, "BLOCK_PIXELS", 12)
    found = PathModel.log_ratio(model, values)
    assert seen == [2, 2, 2, 1]
    torch.testing.assert_close(found["b"], torch.as_tensor(2 * values[:, 0, 0]))
    torch.testing.assert_close(found["a"], torch.as_tensor(2 * values.sum((1, 2))))
    assert len(PathModel.log_ratio(model, values[:0])["a"]) == 0


def test_donors_are_picked_by_blocks_as_at_once(z, law, monkeypatch):
    reference = Recombination(z, law, mean_block=4)
    state = reference.start(50, seeded())
    whole, factor = reference.propose(state, seeded(1))
    monkeypatch.setattr(recombination, "BLOCK_NUMBERS", 7 * len(z))
    blocks, other = reference.propose(state, seeded(1))
    assert torch.equal(blocks.donors, whole.donors)
    torch.testing.assert_close(other, factor)


@pytest.mark.parametrize("kind", ["gaussian", "recombination"])
def test_draws_in_blocks_follow_the_law(z, law, kind, monkeypatch):
    reference = GaussianReference(law)
    if kind == "recombination":
        reference = Recombination(z, law, mean_block=4)
    once = reference.start(3000, seeded(1)).z
    monkeypatch.setattr(references, "BLOCK_NUMBERS", 700 * z[0].numel())
    blocks = reference.start(3001, seeded(2)).z
    assert len(blocks) == 3001
    assert _largest_z_score(blocks, once) < 4.5


def _largest_z_score(a, b):
    tables = [torch.cat([x.mean(1), x.square().mean(1), x[:, -1]], 1) for x in (a, b)]
    error = sum(t.var(0) / len(t) for t in tables).sqrt()
    return float(((tables[0].mean(0) - tables[1].mean(0)) / error).abs().max())


def test_blocks_of_draws_stay_in_order_and_small(monkeypatch):
    monkeypatch.setattr(references, "BLOCK_NUMBERS", 25)
    asked = []

    def draw(count, generator):
        asked.append(count)
        return State(torch.full((count, 5, 2), float(len(asked))))

    found = draw_in_blocks(draw, 5, 10, seeded())
    assert asked == [2, 2, 1]
    assert found.z[:, 0, 0].tolist() == [1, 1, 2, 2, 3]
    assert len(draw_in_blocks(draw, 0, 10, seeded())) == 0
    assert len(draw_in_blocks(draw, 2, 1000, seeded())) == 2


def test_walk_in_blocks_leaves_the_tilted_law_invariant(law, monkeypatch):
    """``exp(a z)`` shifts the mean of a Gaussian pixel by ``a v``."""
    reference = GaussianReference(law)
    start = reference.start(4000, seeded(1))
    pixels = start.z[0].numel()
    monkeypatch.setattr(samplers, "BLOCK_PIXELS", 900 * pixels)
    state, level, info = metropolis(
        reference, lambda z: 0.5 * z[:, -1, 0], start, 40, seeded(2)
    )
    assert len(state) == len(level) == 4000
    torch.testing.assert_close(level, 0.5 * state.z[:, -1, 0])
    assert 0.3 < info.acceptance < 1
    end, variance = state.z[:, -1, 0], float(law.variances[-1, 0])
    error = math.sqrt(variance / len(end))
    assert abs(float(end.mean()) - 0.5 * variance) < 4.5 * error


@dataclass
class _Coin:
    """Series of one pixel that is 1 or -1."""

    largest: int = 0

    def start(self, num_samples, generator):
        self.largest = max(self.largest, num_samples)
        heads = torch.rand(num_samples, generator=generator) < 0.5
        return State(torch.where(heads, 1.0, -1.0)[:, None, None])


@pytest.mark.parametrize("numbers", [10**7, 1000])
def test_candidates_are_picked_by_weight(numbers, monkeypatch):
    """Of two coins with weights 3 : 1 heads is picked with 1/4 + 1/2 3/4 = 0.625."""
    monkeypatch.setattr(references, "BLOCK_NUMBERS", numbers)
    coin = _Coin()
    state = draw_candidates(
        coin, lambda z: math.log(3) / 2 * z[:, 0, 0], 8000, 2, 1, seeded()
    )
    share = float((state.z > 0).float().mean())
    assert abs(share - 0.625) < 4 * math.sqrt(0.625 * 0.375 / 8000)
    assert coin.largest == min(16_000, numbers)


def test_statistics_by_blocks_are_the_same(monkeypatch):
    x = torch.randn(31, 9, 3, generator=seeded())
    whole = series_statistics(x)
    monkeypatch.setattr(statistics, "BLOCK_PIXELS", 100)
    torch.testing.assert_close(series_statistics(x), whole)


def test_all_pairs_are_kept_up_to_28_channels():
    assert strongest_pairs(torch.randn(3, 6, 28, generator=seeded())) is None
    pairs = strongest_pairs(torch.randn(3, 6, 29, generator=seeded()))
    assert pairs.shape == (2, MAX_PAIRS)
    assert (pairs[0] < pairs[1]).all()


def test_pairs_that_correlate_are_found_and_kept(monkeypatch):
    x = torch.randn(40, 20, 32, generator=seeded())
    planted = [(0, 31), (3, 4), (17, 20)]
    for i, j in planted:
        x[:, :, j] += 2 * x[:, :, i]
    monkeypatch.setattr(statistics, "BLOCK_PIXELS", 6000)
    pairs = strongest_pairs(x)
    assert set(planted) <= set(map(tuple, pairs.T.tolist()))
    maps = MarginalMap.fit(x.numpy())
    scores = maps.to_normal(x)
    monkeypatch.setattr(linear, "BLOCK_PIXELS", 6000)
    features = StatisticsFeatures.fit(maps, scores)
    assert features(scores).shape == (40, 2 * (17 * 32 + 2 * MAX_PAIRS))
    again = StatisticsFeatures(maps, **features.state())
    assert torch.equal(again(scores), features(scores))
    direct = features.of_scores(maps.channel_scores(scores))
    torch.testing.assert_close(direct, features(scores))


def test_series_of_the_table_are_autoregressive():
    x = sizes.series((400, 30, 2), seed=3)
    assert np.array_equal(x[1], list(sizes.entries((2, 30, 2), seed=3))[1])
    last = x[:, :, 1].astype(float)
    products, squares = last[:, 1:] * last[:, :-1], last[:, :-1] ** 2
    slope = products.sum() / squares.sum()
    errors = (products - slope * squares).sum(1)
    standard_error = np.sqrt((errors**2).sum()) / squares.sum()
    assert abs(slope - sizes.PHI) < 4 * standard_error


def test_rows_are_measured_once_and_stopped_parts_are_empty(tmp_path, monkeypatch):
    calls = []

    def in_process(part, size, way, folder, limit, count=0):
        calls.append((part, count))
        finished = not (size[0] == 50 and part == "fit")
        seconds = 2.0 if finished else math.nan
        return {"seconds": seconds, "memory": 100.0, "finished": finished}

    monkeypatch.setattr(sizes, "_in_process", in_process)
    wanted = [((20, 24, 5), "model"), ((50, 1000, 100), "model")]
    path = tmp_path / "sizes.csv"
    *_, table = sizes.run_sizes(path, wanted, 1.0)
    assert table["seconds_sample"][0] == 2.0
    assert table["memory_5000_mb"].tolist()[0] == 100
    assert calls[:3] == [("start", 0), ("fit", 0), ("sample", 1000)]
    assert table["stopped"][1] == "fit"
    assert table["memory_fit_mb"][1] == 100
    assert math.isnan(table["seconds_fit"][1])
    assert math.isnan(table["memory_sample_mb"][1])
    assert calls[-1] == ("fit", 0)
    assert list(sizes.run_sizes(path, wanted, 1.0)) == []
    assert len(pd.read_csv(path)) == 2


def test_large_series_are_drawn_in_smaller_number(monkeypatch):
    asked = []

    def in_process(part, size, way, folder, limit, count=0):
        asked.append((part, count))
        return {"seconds": 3.0, "memory": 1.0, "finished": True}

    monkeypatch.setattr(sizes, "_in_process", in_process)
    row = sizes._row((50, 1000, 100), "model", 1.0)
    assert ("sample", 60) in asked
    assert row["seconds_sample"] == pytest.approx(3 * 1000 / 60)
    assert "stream" not in dict(asked)


def test_a_part_reports_in_json_and_stops_at_its_limit(tmp_path, monkeypatch, capsys):
    def measure(part, *_):
        while part == "fit":
            pass

    monkeypatch.setattr(sizes, "measure", measure)
    for part, finished in (("sample", True), ("fit", False)):
        given = ["--part", part, "--size", "20,6,1", "--way", "model"]
        sizes.main([*given, "--folder", str(tmp_path), "--limit", "0.2"])
        found = json.loads(capsys.readouterr().out)
        assert found["finished"] is finished
        assert math.isnan(found["seconds"]) is not finished
        assert found["memory"] > 50


def test_a_fit_is_kept_and_drawn_from_by_blocks(tmp_path):
    size = (20, 6, 1)
    sizes.measure("fit", size, "model", tmp_path, 0)
    sizes.measure("stream", size, "model", tmp_path, 3)
    assert (tmp_path / "fitted.pickle").is_file()
    asked = []

    def draw(rows, num_steps, generator):
        asked.append(rows)
        return State(torch.zeros(rows, 2, 1))

    fitted = SimpleNamespace(
        draw=draw, marginals=SimpleNamespace(from_normal=lambda z: z)
    )
    assert sum(map(len, sizes._draw(fitted, 600))) == 600
    assert asked == [256, 256, 88]


@pytest.mark.parametrize("text", ["200,24", "a,b,c", "0,4,1", "20,-4,1"])
def test_sizes_that_are_no_sizes(text):
    with pytest.raises(SystemExit, match="three whole numbers"):
        sizes.main(["--out", "unused.csv", "--only", text])


def test_out_is_needed(capsys):
    with pytest.raises(SystemExit):
        sizes.main([])
    assert "--out is missing" in capsys.readouterr().err
