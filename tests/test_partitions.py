import math

import numpy as np
import pytest
import torch
from laws import ar1, ar1_total_correlation
from scipy.stats import norm

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.partitions import (
    PartitionPath,
    gaussian_nats,
    gaussian_offsets,
    line_path,
    single_step,
    tree_path,
)

PATHS = {
    "single": single_step(6, 2),
    "line": line_path(6, 2, num_blocks=3),
    "channels": line_path(6, 2, num_blocks=2, along="channels"),
    "tree": tree_path(6, 2),
}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(params=PATHS)
def path(request):
    return PATHS[request.param]


def ar1_correlation(length, channels, phi):
    lag = torch.arange(length)[:, None] - torch.arange(length)
    over_time = phi ** lag.abs().double()
    across = torch.full((channels, channels), 0.4, dtype=torch.float64)
    return torch.kron(over_time, across.fill_diagonal_(1.0))


def gaussian_draws(correlation, num_series, shape, generator):
    noise = torch.randn(
        num_series, len(correlation), generator=generator, dtype=torch.float64
    )
    return (noise @ torch.linalg.cholesky(correlation).T).view(-1, *shape)


def assert_mean(values, expected, sigmas=4.0):
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - expected).abs() < sigmas * error + 1e-12).all()


def test_ends_are_the_marginals_and_the_data(path):
    assert path.num_groups[0] == 12
    assert path.num_groups[-1] == 1
    assert path.num_legs == len(path.names) == len(set(path.names))


def test_names_and_groups_of_the_paths():
    assert PATHS["tree"].names == (
        "within a step",
        "up to 2 steps",
        "up to 4 steps",
        "up to 6 steps",
    )
    assert PATHS["tree"].num_groups == (12, 6, 3, 2, 1)
    assert PATHS["line"].names == (
        "within blocks",
        "joining steps 3 to 4",
        "joining steps 5 to 6",
    )
    assert PATHS["line"].num_groups == (12, 3, 2, 1)
    assert PATHS["channels"].names == ("within blocks", "joining channel 2")
    assert PATHS["channels"].labels[1].unique(dim=0).tolist() == [[0, 1]]


def test_blocks_differ_by_at_most_one_step():
    labels = line_path(11, 1, num_blocks=4).labels[1]
    sizes = labels.flatten().bincount()
    assert sizes.max() - sizes.min() <= 1


def test_legs_that_join_nothing_are_left_out():
    assert tree_path(8, 1).names == ("up to 2 steps", "up to 4 steps", "up to 8 steps")
    assert tree_path(1, 3).names == ("within a step",)
    assert line_path(3, 1, num_blocks=3).num_legs == 2


def test_tree_merges_levels_beyond_the_cap():
    path = tree_path(96, 7, max_legs=4)
    assert path.num_legs == 4
    assert path.names[-1] == "up to 96 steps"
    steps = [int(name.split()[2]) for name in path.names[1:]]
    assert steps == sorted(steps)
    # The leg named "up to s steps" ends with segments of s steps.
    for scale, groups in zip(steps, path.num_groups[2:]):
        assert groups == math.ceil(96 / scale)


def test_draws_of_all_rows_keep_the_marginals_exactly(path, generator):
    z = torch.randn(50, 6, 2, generator=generator)
    for law in range(path.num_legs + 1):
        drawn = path.draw(z, law, 50, generator)
        torch.testing.assert_close(drawn.sort(0).values, z.sort(0).values)


@pytest.mark.parametrize("num_samples", [30, 200])
def test_groups_come_from_one_row_each(path, num_samples, generator):
    rows = torch.arange(60.0)[:, None, None].expand(60, 6, 2)
    for law in range(path.num_legs + 1):
        drawn = path.draw(rows, law, num_samples, generator)
        assert drawn.shape == (num_samples, 6, 2)
        donors = drawn.flatten(1)
        labels = path.labels[law].flatten()
        for group in range(path.num_groups[law]):
            inside = donors[:, labels == group]
            assert (inside == inside[:, :1]).all()
            distinct = len(inside[:, 0].unique())
            assert distinct == 30 if num_samples == 30 else 30 < distinct <= 60


def test_groups_are_independent(path, generator):
    n = 4000
    z = gaussian_draws(ar1_correlation(6, 2, 0.9), n, (6, 2), generator)
    for law in range(path.num_legs + 1):
        drawn = path.draw(z, law, n, generator).flatten(1)
        labels = path.labels[law].flatten()
        apart = labels[:, None] != labels
        correlation = torch.corrcoef(drawn.T)
        if apart.any():
            limit = norm.isf(0.0005 / int(apart.sum()))
            assert (correlation[apart].abs() * math.sqrt(n) < limit).all()
        expected = torch.corrcoef(z.flatten(1).T)
        torch.testing.assert_close(correlation[~apart], expected[~apart])


def test_draws_are_reproducible(path):
    z = torch.randn(20, 6, 2, generator=torch.Generator().manual_seed(1))
    draws = [path.draw(z, 1, 9, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert torch.equal(*draws)


def test_nats_sum_to_the_total_correlation(path):
    correlation = ar1_correlation(6, 2, 0.7)
    total = -0.5 * torch.logdet(correlation)
    torch.testing.assert_close(gaussian_nats(path, correlation).sum(), total)
    scaled = correlation * 2.5
    torch.testing.assert_close(
        gaussian_nats(path, scaled), gaussian_nats(path, correlation)
    )


def test_offsets_have_the_nats_as_means(path, generator):
    correlation = ar1_correlation(6, 2, 0.7)
    offsets = gaussian_offsets(path, correlation)
    scores = offsets(gaussian_draws(correlation, 20_000, (6, 2), generator))
    torch.testing.assert_close(offsets.nats, gaussian_nats(path, correlation))
    assert_mean(scores, gaussian_nats(path, correlation))


def test_offsets_sum_to_the_gaussian_log_ratio(path, generator):
    covariance = 1.3 * ar1_correlation(6, 2, 0.7)
    z = torch.randn(40, 6, 2, generator=generator).double()
    joint = torch.distributions.MultivariateNormal(z.new_zeros(12), covariance)
    marginals = torch.distributions.Normal(0.0, z.new_tensor(1.3).sqrt())
    expected = joint.log_prob(z.flatten(1)) - marginals.log_prob(z).sum((1, 2))
    scores = gaussian_offsets(path, covariance)(z)
    torch.testing.assert_close(scores.sum(1), expected)


def test_every_leg_is_normalised_under_its_lower_law(path, generator):
    correlation = ar1_correlation(6, 2, 0.25)
    offsets = gaussian_offsets(path, correlation)
    z = gaussian_draws(correlation, 100_000, (6, 2), generator)
    for leg in range(path.num_legs):
        lower = path.draw(z, leg, len(z), generator)
        assert_mean(offsets(lower)[:, leg].exp(), 1.0)


def test_offsets_keep_the_type_and_have_gradients():
    offsets = gaussian_offsets(PATHS["tree"], ar1_correlation(6, 2, 0.7))
    z = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(1))
    assert offsets(z).dtype == torch.float32
    assert torch.autograd.gradcheck(offsets, z.double().requires_grad_())


@pytest.mark.parametrize("length", [8, 24])
def test_tree_reads_the_scales_of_ar1(length):
    phi = 0.8
    path = tree_path(length, 1)
    joins = -torch.tensor(path.num_groups).diff()
    expected = joins * -0.5 * math.log(1 - phi**2)
    nats = gaussian_nats(path, ar1_correlation(length, 1, phi))
    torch.testing.assert_close(nats, expected.double())
    assert float(nats.sum()) == pytest.approx(ar1_total_correlation(length, 1, phi))


def test_line_reads_one_boundary_a_block_of_ar1():
    nats = gaussian_nats(line_path(12, 1, num_blocks=4), ar1_correlation(12, 1, 0.6))
    boundary = ar1_total_correlation(2, 1, 0.6)
    expected = torch.tensor([8.0, 1.0, 1.0, 1.0]).double() * boundary
    torch.testing.assert_close(nats, expected)


def test_causal_covariance_is_that_of_the_law(generator):
    law = CausalGaussian.fit(torch.as_tensor(ar1(300, 6, 2, 0.7, 1)), 2, 100.0, 1e-2)
    covariance = law.covariance()
    torch.testing.assert_close(covariance.diagonal().view(6, 2), law.variances)
    nats = gaussian_nats(PATHS["single"], covariance)
    assert float(nats) == pytest.approx(law.total_correlation())
    z = law.sample(20, generator)
    scores = gaussian_offsets(PATHS["tree"], covariance)(z).sum(1)
    torch.testing.assert_close(scores, law.log_ratio(z))


def test_a_path_of_two_thousand_pixels():
    path = tree_path(100, 8)
    correlation = ar1_correlation(100, 8, 0.9)
    nats = gaussian_nats(path, correlation)
    assert float(nats.sum()) == pytest.approx(float(-0.5 * torch.logdet(correlation)))


FINE, DATA = torch.arange(4).view(2, 2), torch.zeros(2, 2, dtype=torch.long)
CROSSED = torch.tensor([[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ([FINE, DATA.T + 1, FINE], ("a", "b"), "in the last"),
        ([DATA, DATA], ("a",), "in the first law"),
        ([FINE, CROSSED, CROSSED.T, DATA], ("a", "b", "c"), "law 2 split"),
        ([FINE, DATA], ("a", "b"), "2 entries for 1 legs"),
        ([FINE], (), "labels has shape"),
        ([FINE.double(), DATA.double()], ("a",), "labels has shape"),
    ],
)
def test_wrong_partitions_are_refused(labels, names, message):
    with pytest.raises(ValueError, match=message):
        PartitionPath(torch.stack(labels), names)


def test_equal_neighbours_are_allowed():
    path = PartitionPath(torch.stack([FINE, FINE, DATA]), ("nothing", "all"))
    assert gaussian_nats(path, torch.eye(4)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: single_step(1, 1), "at least two pixels"),
        (lambda: tree_path(0, 2), "at least two pixels"),
        (lambda: tree_path(4, 2, max_legs=0), "max_legs is 0"),
        (lambda: line_path(4, 2, num_blocks=5), "num_blocks is 5"),
        (lambda: line_path(4, 2, num_blocks=3, along="channels"), "num_blocks is 3"),
        (lambda: line_path(4, 2, along="space"), "along is 'space'"),
    ],
)
def test_wrong_constructions_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("shape", "law", "num_samples", "message"),
    [
        ((5, 6, 3), 0, 4, "z has shape"),
        ((0, 6, 2), 0, 4, "z has shape"),
        ((5, 6, 2), 9, 4, "law is 9"),
        ((5, 6, 2), -1, 4, "law is -1"),
        ((5, 6, 2), 0, 0, "num_samples is 0"),
    ],
)
def test_wrong_draws_are_refused(shape, law, num_samples, message, generator):
    with pytest.raises(ValueError, match=message):
        PATHS["tree"].draw(torch.zeros(shape), law, num_samples, generator)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.eye(11), "correlation has shape"),
        (torch.eye(12) + torch.eye(12).roll(1, 0), "not symmetric"),
        (torch.ones(12, 12), "not positive definite"),
        (torch.full((12, 12), float("nan")), "not symmetric"),
    ],
)
def test_wrong_correlations_are_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        gaussian_offsets(PATHS["tree"], matrix)
    with pytest.raises(ValueError, match=message):
        gaussian_nats(PATHS["tree"], matrix)


def test_offsets_refuse_another_shape():
    offsets = gaussian_offsets(PATHS["tree"], torch.eye(12))
    with pytest.raises(ValueError, match="T C = 12"):
        offsets(torch.zeros(3, 5, 2))
    assert np.allclose(offsets(torch.zeros(3, 6, 2)), 0.0)
