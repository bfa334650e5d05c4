import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from gluonts_dualkl.clustering import cluster_levels, jaccard_stability
from gluonts_dualkl.dual_space import embed


def mixture(seed, sizes=(70, 70, 60), means=(0.0, 8.0, 18.0)):
    rng = np.random.default_rng(seed)
    levels = np.concatenate(
        [m + rng.standard_normal(n) for m, n in zip(means, sizes, strict=True)]
    )
    return levels, np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize("seed", range(3))
def test_modes_well_apart_are_recovered(seed):
    levels, labels = mixture(seed)
    cuts, bandwidth = cluster_levels(levels, seed)
    assert adjusted_rand_score(labels, np.digitize(levels, cuts)) > 0.95
    assert (jaccard_stability(levels, cuts, bandwidth, seed) > 0.9).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.standard_normal(200),
        lambda rng: rng.chisquare(4, 200),
        lambda rng: rng.standard_t(3, 200),
    ],
    ids=["normal", "skewed", "heavy tails"],
)
def test_one_bell_is_one_cluster(draw):
    found = [
        len(cluster_levels(draw(np.random.default_rng(seed)), seed)[0]) + 1
        for seed in range(10)
    ]
    assert np.mean(np.array(found) == 1) >= 0.9


def test_clusters_are_contiguous_and_complete():
    levels, _ = mixture(1)
    space = embed(levels)
    assert len(space.clusters) == 3
    members = np.concatenate([c.members for c in space.clusters])
    assert sorted(members) == list(range(200))
    for cluster in space.clusters:
        assert cluster.lower == levels[cluster.members[0]]
        assert (np.diff(levels[cluster.members]) >= 0).all()
    for (low, high), left, right in zip(
        space.gaps, space.clusters, space.clusters[1:], strict=False
    ):
        assert (low, high) == (left.upper, right.lower)
        assert low < high


def test_band_and_bins():
    levels, _ = mixture(2)
    space = embed(levels)
    inside = (levels >= space.band[0]) & (levels <= space.band[1])
    assert inside.mean() == pytest.approx(0.95, abs=0.01)
    assert len(space.occupied) == len(space.bin_edges) - 1
    assert not space.occupied.all()


def test_shift_moves_everything_along():
    levels, _ = mixture(3)
    a, b = embed(levels), embed(levels + 100)
    for left, right in zip(a.clusters, b.clusters, strict=True):
        assert (left.members == right.members).all()


def test_equal_levels_are_one_cluster():
    assert len(embed(np.ones(30)).clusters) == 1
