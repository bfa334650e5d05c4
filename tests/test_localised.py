"""Local divergences in the sorted dual space, and hard negatives in neighbourhoods."""

import math

import numpy as np
import pytest
import torch

from gluonts_dualkl.analysis.localised import (
    local_permutation,
    neighbour_divergences,
    refine_cuts,
)


def step(seed, num_series=160, size=3.0):
    """Features that jump by ``size`` where the level passes 0.2."""
    rng = np.random.default_rng(seed)
    levels = np.sort(rng.uniform(-1, 1, num_series))
    features = rng.standard_normal((num_series, 3))
    features[:, 0] += size * (levels > 0.2)
    return levels, features


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_divergence_peaks_where_the_law_changes():
    levels, features = step(0)
    local = neighbour_divergences(levels, features, 20, generator=generator())
    assert local.believed.any()
    assert np.abs(local.positions[local.believed] - 0.2).max() < 0.35
    assert abs(local.positions[local.nats.argmax()] - 0.2) < 0.15
    assert local.nats.max() <= math.log(2)
    far = np.abs(local.positions - 0.2) > 0.5
    assert abs(local.nats[far].mean()) < 0.15
    assert not local.believed[far].any()


def test_groups_far_apart_come_near_ln_two():
    levels, features = step(1, size=40.0)
    local = neighbour_divergences(levels, features, 20, num_replicates=0)
    assert 0.4 < local.nats.max() < math.log(2)  # the penalty keeps it below
    assert math.isinf(local.threshold)
    assert not local.believed.any()


def test_nothing_is_believed_where_nothing_changes():
    believed = []
    for seed in range(5):
        levels, features = step(seed, 100, size=0.0)
        local = neighbour_divergences(
            levels, features, 20, generator=generator(seed), num_replicates=19
        )
        believed.append(local.believed.any())
        assert local.nats.mean() < 0.02  # held out: chance does not read as nats
    assert sum(believed) <= 2


def test_scan_ignores_order_and_units():
    levels, features = step(2)
    a = neighbour_divergences(levels, features, 20, generator=generator())
    order = np.random.default_rng(0).permutation(len(levels))
    b = neighbour_divergences(
        levels[order], features[order] * 10 + 3, 20, generator=generator()
    )
    assert np.array_equal(a.positions, b.positions)
    assert a.nats == pytest.approx(b.nats, abs=1e-3)


@pytest.mark.parametrize("start", [0.05, 0.38])
def test_cuts_move_to_the_change(start):
    levels, features = step(3)
    refined = refine_cuts([start], levels, features, 20, generator=generator())
    assert abs(refined[0] - 0.2) < 0.05


def test_cuts_keep_their_order():
    levels, features = step(4)
    cuts = np.array([-0.5, 0.1, 0.3])
    refined = refine_cuts(cuts, levels, features, 20)
    assert (np.diff(refined) > 0).all()
    assert refine_cuts([], levels, features, 20).size == 0


def test_pixels_come_from_their_neighbourhood():
    z = torch.arange(6.0)[:, None, None] * torch.ones(6, 50, 4)
    neighbours = torch.tensor([[0, 1, 2], [3, 4, 5]])
    drawn = local_permutation(z, neighbours, generator())
    assert drawn.shape == (2, 50, 4)
    for row, allowed in zip(drawn, neighbours, strict=True):
        counts = torch.bincount(row.long().ravel(), minlength=6)[allowed]
        assert counts.sum() == 200
        # each neighbour supplies a third: 4 standard errors of a binomial
        assert (counts / 200 - 1 / 3).abs().max() < 4 * math.sqrt(2 / 9 / 200)


def test_pixels_keep_place_and_lose_dependency():
    rng = torch.Generator().manual_seed(1)
    level = torch.randn(500, 1, 1, generator=rng)
    z = level + torch.arange(12.0).reshape(1, 6, 2) * 100
    neighbours = torch.arange(500).expand(500, -1)
    drawn = local_permutation(z, neighbours, generator()) - z.mean(0)
    assert drawn.abs().max() < 10
    correlation = torch.corrcoef(drawn.flatten(1).T) - torch.eye(12)
    assert correlation.abs().max() < 4.5 / math.sqrt(500)


def test_bad_arguments():
    levels, features = step(0, 40)
    for k in (7, 21):
        with pytest.raises(ValueError, match=f"k is {k}; with 40 series"):
            neighbour_divergences(levels, features, k)
    with pytest.raises(ValueError, match="folds is 1"):
        neighbour_divergences(levels, features, 10, folds=1)
    with pytest.raises(ValueError, match="a table of 40 rows"):
        neighbour_divergences(levels, features[1:], 10)
    with pytest.raises(ValueError, match="give rising levels"):
        refine_cuts([0.3, 0.1], levels, features, 10)
    with pytest.raises(ValueError, match="k is 30"):
        refine_cuts([0.3], levels, features, 30)
    z, near = torch.zeros(4, 3, 2), torch.zeros(4, 2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"give series \(N, T, C\)"):
        local_permutation(z[0], near, generator())
    with pytest.raises(ValueError, match="at least one neighbour"):
        local_permutation(z, near[:, :0], generator())
    with pytest.raises(ValueError, match="z has rows 0 to 3"):
        local_permutation(z, near + 4, generator())
