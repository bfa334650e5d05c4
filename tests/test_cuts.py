"""Greedy cuts and the tree of cuts: closed forms, mixtures, and one bell."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from gluonts_dualkl.analysis.cuts import cut_tree, greedy_cuts
from gluonts_dualkl.analysis.group_divergence import (
    GaussianDivergence,
    draw_unimodal,
    principal_features,
    span_divergences,
    unimodal_bandwidth,
)


def mixture(seed, num_series=240, means=(0.0, 30.0, 80.0), spreads=(5.0, 7.0, 10.0)):
    """Levels of three groups, and two features that follow the group and the level."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(len(means), size=num_series)
    noise = rng.standard_normal(num_series)
    levels = np.array(means)[labels] + np.array(spreads)[labels] * noise
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0]])
    features = centres[labels] + rng.standard_normal((num_series, 2))
    return levels, features, labels


def bell(seed, num_series=200, skewed=False):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_series, 4))
    levels = features @ [1.0, 0.5, 0.0, 0.0] + 0.3 * rng.standard_normal(num_series)
    return (np.exp(0.5 * levels) if skewed else levels), features


def labels_of(tree, num_series):
    own = np.zeros(num_series, int)
    for k, leaf in enumerate(tree.leaves()):
        own[leaf.members] = k
    return own


def test_gaussian_divergence_is_the_closed_form_without_shrinkage():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((400, 2)) * [1, 2] + [1, 0], rng.standard_normal((50, 2))
    cov_a, cov_b = np.cov(a.T, ddof=0), np.cov(b.T, ddof=0)
    shift = b.mean(0) - a.mean(0)
    expected = 0.5 * (
        np.trace(np.linalg.solve(cov_b, cov_a))
        - 2
        + shift @ np.linalg.solve(cov_b, shift)
        + np.log(np.linalg.det(cov_b) / np.linalg.det(cov_a))
    )
    assert GaussianDivergence(0.0)(a, b) == pytest.approx(expected, rel=1e-6)
    both = GaussianDivergence(0.0, symmetric=True)
    mean = 0.5 * (expected + GaussianDivergence(0.0)(b, a))
    assert both(a, b) == pytest.approx(mean, rel=1e-6)
    assert GaussianDivergence(20.0)(a, b) < expected


def test_divergence_does_not_depend_on_the_units_of_the_features():
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((30, 3)), rng.standard_normal((40, 3)) + 1
    turn = rng.standard_normal((3, 3))
    expected = GaussianDivergence()(a, b)
    assert GaussianDivergence()(a @ turn + 7, b @ turn + 7) == pytest.approx(expected)
    assert GaussianDivergence()(a, a) == pytest.approx(0, abs=1e-9)


def test_spans_at_once_equal_single_calls():
    features = np.random.default_rng(2).standard_normal((60, 3)).cumsum(0)
    spans = np.array([[30, 60, 0, 30], [40, 60, 10, 40], [5, 12, 0, 5]])
    at_once = GaussianDivergence(0.0).of_spans(features, spans)
    single = GaussianDivergence(0.0)
    by_hand = span_divergences(lambda a, b: single(a, b), features, spans)
    assert at_once[:2] == pytest.approx(by_hand[:2], rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_cuts_recover_groups(seed):
    levels, features, labels = mixture(seed)
    cuts = greedy_cuts(levels, features, 3)
    assert (np.diff(cuts) > 0).all()
    best = adjusted_rand_score(labels, np.digitize(levels, [13.0, 50.0]))
    assert adjusted_rand_score(labels, np.digitize(levels, cuts)) > best - 0.07


def test_greedy_takes_the_best_cut_and_any_divergence():
    levels = np.arange(40.0)
    features = np.where(levels < 13, 0.0, 1.0)[:, None] + 1e-3 * levels[:, None]

    def distance(a, b):
        return float(abs(a.mean() - b.mean()))

    assert greedy_cuts(levels, features, 2, divergence=distance) == pytest.approx(12.5)
    order = np.random.default_rng(0).permutation(40)
    shuffled = greedy_cuts(levels[order], features[order], 2, divergence=distance)
    assert shuffled == pytest.approx(12.5)


def test_each_greedy_cut_is_the_best_next_one():
    rng = np.random.default_rng(4)
    levels, features = np.arange(30.0), rng.standard_normal((30, 2)).cumsum(0)
    size, law = 3, GaussianDivergence()

    def objective(cuts):  # sum over clusters of D(rest || cluster)
        bounds = [0, *cuts, 30]
        spans = [[b, 30, a, b] for a, b in zip(bounds, bounds[1:-1], strict=False)]
        return law.of_spans(features, np.array(spans)).sum()

    def allowed(cuts):
        return np.diff([0, *cuts, 30]).min() >= size

    pairs = [(a, b) for a in range(30) for b in range(a) if allowed((b, a))]
    best = max(objective(sorted(pair)) for pair in pairs)
    first = max(range(size, 31 - size), key=lambda a: objective([a]))
    second = max(
        (sorted((first, b)) for b in range(30) if allowed(sorted((first, b)))),
        key=objective,
    )
    found = greedy_cuts(levels, features, 3, min_share=0.1)
    assert found == pytest.approx(np.array(second) - 0.5)
    assert objective(second) >= (1 - 1 / np.e) * best


def test_cuts_respect_share_and_ties():
    levels, features, _ = mixture(0)
    cuts = greedy_cuts(levels, features, 4, min_share=0.2)
    assert np.bincount(np.digitize(levels, cuts)).min() >= 0.2 * len(levels)
    tied = np.repeat([0.0, 1.0], 20)
    only = greedy_cuts(tied, features[:40], 5)
    assert only == pytest.approx(0.5)
    assert greedy_cuts(np.zeros(40), features[:40], 3).size == 0
    assert greedy_cuts(levels, features, 1).size == 0


@pytest.mark.parametrize("seed", range(2))
def test_tree_finds_the_number_of_groups(seed):
    levels, features, labels = mixture(seed)
    tree = cut_tree(levels, features, seed=seed, num_replicates=99, num_resamples=20)
    assert len(tree.leaves()) == 3
    assert adjusted_rand_score(labels, labels_of(tree, len(levels))) > 0.85
    for node in tree.nodes():
        assert (np.diff(levels[node.members]) >= 0).all()
        assert node.lower == levels[node.members[0]]
        assert node.upper == levels[node.members[-1]]
        supported = node.gain > node.threshold or np.isfinite(node.bandwidth)
        assert bool(node.children) == supported
        if node.children:
            joined = np.concatenate([child.members for child in node.children])
            assert np.array_equal(joined, node.members)
    assert all(leaf.stability > 0.8 for leaf in tree.leaves())


@pytest.mark.parametrize("skewed", [False, True])
def test_one_bell_is_one_stable_cluster(skewed):
    trees = [
        cut_tree(*bell(s, skewed=skewed), seed=s, num_replicates=99, num_resamples=10)
        for s in range(3)
    ]
    assert [len(tree.leaves()) for tree in trees] == [1] * 3
    assert all(np.isfinite(tree.gain) for tree in trees)
    assert np.mean([tree.stability for tree in trees]) > 0.9


def test_tree_is_reproducible_and_no_deeper_than_asked():
    levels, features, _ = mixture(0)
    few = {"seed": 3, "num_replicates": 99, "num_resamples": 5}
    a, b = (cut_tree(levels, features, 2, **few) for _ in range(2))
    assert len(a.leaves()) == 2
    assert [n.stability for n in a.nodes()] == [n.stability for n in b.nodes()]
    assert a.gain == b.gain
    single = cut_tree(levels, features, 1, **few)
    assert single.leaves() == [single]
    assert np.isnan(single.gain)


def test_unimodal_draws_keep_moments_and_lose_modes():
    levels, features, _ = mixture(1, 400)
    rng = np.random.default_rng(0)
    bandwidth = unimodal_bandwidth(levels)
    drawn = [draw_unimodal(levels, features, rng, bandwidth=bandwidth)[0] for _ in "ab"]
    assert drawn[0].std() == pytest.approx(levels.std(), rel=0.15)
    middle = (np.concatenate(drawn) > 48) & (np.concatenate(drawn) < 55)
    inside = (levels > 48) & (levels < 55)
    assert middle.mean() > 2 * inside.mean()


def test_principal_features_are_white():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((50, 6)) @ rng.standard_normal((6, 6)) * 100 + 3
    table = np.c_[table, np.ones(50), table[:, 0]]
    white = principal_features(table, 10)
    assert white.shape == (50, 6)
    assert white.T @ white / 50 == pytest.approx(np.eye(6), abs=1e-8)
    assert principal_features(table, 2).shape == (50, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": np.zeros((4, 2))}, "levels has shape"),
        ({"levels": np.full(40, np.nan)}, "one finite level"),
        ({"features": np.zeros((39, 2))}, "a table of 40 rows"),
        ({"features": np.full((40, 2), np.inf)}, "NaN or infinity"),
        ({"min_share": 0.6}, "min_share is 0.6"),
    ],
)
def test_bad_arguments(change, message):
    good = {"levels": np.arange(40.0), "features": np.ones((40, 2)), **change}
    with pytest.raises(ValueError, match=message):
        greedy_cuts(num_clusters=2, **good)
    with pytest.raises(ValueError, match=message):
        cut_tree(**good)


def test_bad_numbers():
    levels, features = np.arange(40.0), np.ones((40, 2))
    with pytest.raises(ValueError, match="num_clusters is 0"):
        greedy_cuts(levels, features, 0)
    with pytest.raises(ValueError, match="max_clusters is 0"):
        cut_tree(levels, features, 0)
    with pytest.raises(ValueError, match="num_replicates is 10"):
        cut_tree(levels, features, num_replicates=10)
