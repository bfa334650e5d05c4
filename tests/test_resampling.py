import numpy as np
import pytest
import torch

from gluonts_dualkl.walks.resampling import effective_sample_share, systematic


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_counts_are_within_one_of_their_expectation():
    weights = torch.rand(50, generator=seeded()).log()
    expected = 50 * torch.softmax(weights, 0)
    for seed in range(20):
        counts = torch.bincount(systematic(weights, seeded(seed)), minlength=50)
        assert (counts - expected).abs().max() <= 1 + 1e-4


def test_mean_counts_match():
    weights = torch.tensor([0.0, 1.0, -2.0, 0.5])
    counts = torch.stack(
        [
            torch.bincount(systematic(weights, seeded(seed)), minlength=4)
            for seed in range(4000)
        ]
    ).double()
    error = counts.std(0) / np.sqrt(len(counts)) + 1e-9
    expected = 4 * torch.softmax(weights, 0)
    assert ((counts.mean(0) - expected) / error).abs().max() < 4


@pytest.mark.parametrize("shift", [-1000.0, 0.0, 1000.0])
def test_unchanged_by_a_constant(shift):
    weights = torch.rand(30, generator=seeded())
    assert torch.equal(
        systematic(weights, seeded(1)), systematic(weights + shift, seeded(1))
    )
    share = effective_sample_share(weights)
    assert effective_sample_share(weights + shift) == pytest.approx(share, rel=1e-3)


def test_effective_share_runs_from_one_row_to_all():
    assert effective_sample_share(torch.zeros(40)) == pytest.approx(1)
    one = torch.full((40,), -100.0)
    one[3] = 0
    assert effective_sample_share(one) == pytest.approx(1 / 40)
