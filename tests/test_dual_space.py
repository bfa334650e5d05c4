import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from gluonts_dualkl.analysis.dual_space import embed


def mixture(seed, sizes=(70, 70, 60), means=(0.0, 8.0, 18.0)):
    """Levels, features that go with the part, and the part of each series."""
    rng = np.random.default_rng(seed)
    parts = np.repeat(np.arange(len(sizes)), sizes)
    levels = np.asarray(means)[parts] + rng.standard_normal(len(parts))
    features = rng.standard_normal((len(parts), 3))
    features[:, 0] += 3 * parts
    return levels, features, parts


@pytest.mark.parametrize("seed", range(3))
def test_parts_well_apart_are_recovered(seed):
    levels, features, parts = mixture(seed)
    space = embed(levels, features)
    found = np.empty(len(levels), int)
    for k, cluster in enumerate(space.clusters):
        found[cluster.members] = k
    assert adjusted_rand_score(parts, found) > 0.95
    assert all(cluster.stability > 0.9 for cluster in space.clusters)


def test_clusters_are_contiguous_and_complete():
    levels, features, _ = mixture(1)
    space = embed(levels, features)
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
    levels, features, _ = mixture(2)
    space = embed(levels, features)
    inside = (levels >= space.band[0]) & (levels <= space.band[1])
    assert inside.mean() == pytest.approx(0.95, abs=0.01)
    assert len(space.occupied) == len(space.bin_edges) - 1
    assert not space.occupied.all()


def test_shift_moves_everything_along():
    levels, features, _ = mixture(3)
    a, b = embed(levels, features), embed(levels + 100, features)
    for left, right in zip(a.clusters, b.clusters, strict=True):
        assert (left.members == right.members).all()


def test_equal_levels_are_one_cluster():
    features = np.random.default_rng(0).standard_normal((30, 2))
    assert len(embed(np.ones(30), features).clusters) == 1
