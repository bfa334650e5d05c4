import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.laws.elliptical import RadialLaw
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.laws.references import GaussianReference
from gluonts_dualkl.walks.samplers import metropolis


@pytest.fixture(scope="module")
def train():
    return torch.as_tensor(ar1(60, 12, 2, 0.7, seed=1))


@pytest.fixture(scope="module")
def law(train):
    return CausalGaussian.fit(train, 2, 100.0, 1e-2)


@pytest.fixture(params=["gaussian", "elliptical", "recombination"])
def reference(request, train, law):
    if request.param == "gaussian":
        return GaussianReference(law)
    if request.param == "elliptical":
        size = torch.tensor(float(train[0].numel()), dtype=torch.float64)
        spread = torch.tensor(0.4, dtype=torch.float64)
        return GaussianReference(law, RadialLaw(size.log(), spread, size))
    return Recombination(train, law, mean_block=4)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def statistics(z):
    """Means, squares and lagged products, a row a series."""
    return torch.cat(
        [z.mean(1), z.square().mean(1), (z[:, 1:] * z[:, :-1]).mean(1), z[:, -1]], 1
    )


def z_scores(a, b):
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    return (a.mean(0) - b.mean(0)) / error


def test_start_is_reproducible(reference):
    a, b = (reference.start(7, seeded(3)).z for _ in range(2))
    assert a.shape == (7, 12, 2)
    assert torch.isfinite(a).all()
    assert torch.equal(a, b)


def test_moves_leave_the_law_invariant(reference):
    n = 3000
    fresh = statistics(reference.start(n, seeded(1)).z)
    state, _, info = metropolis(
        reference,
        lambda z: z.new_zeros(len(z)),
        reference.start(n, seeded(2)),
        15,
        seeded(4),
    )
    assert info.acceptance > 0.3
    assert z_scores(fresh, statistics(state.z)).abs().max() < 4


def test_tilted_law_matches_importance_weights(reference):
    """The walk on ``R exp(f)`` against self-normalised importance sampling."""

    def tilt(z):
        return 1.5 * z[:, :, 0].mean(1) - 0.5 * z[:, -1, 1].square()

    draws = reference.start(20_000, seeded(5)).z
    table = statistics(draws)
    weights = torch.softmax(tilt(draws), 0)[:, None]
    mean = (weights * table).sum(0)
    error = (weights.square() * (table - mean).square()).sum(0).sqrt()
    state, _, _ = metropolis(
        reference, tilt, reference.start(3000, seeded(6)), 60, seeded(7)
    )
    walked = statistics(state.z)
    error = (error.square() + walked.var(0) / len(walked)).sqrt()
    assert ((walked.mean(0) - mean) / error).abs().max() < 4


def test_recombination_follows_its_donors(train, law):
    reference = Recombination(train, law, mean_block=1e9)
    state = reference.start(50, seeded())
    assert (state.donors == state.donors[:, :1]).all()
    donors = train[state.donors[:, 0]]
    shifted = law.from_innovations(
        law.innovations(donors) + first_step_shift(law, state.starts)
    )
    torch.testing.assert_close(state.z, shifted.float(), atol=1e-4, rtol=1e-4)


def first_step_shift(law, starts):
    """Innovations ``(n, T, C)`` that move the first step by ``starts``."""
    shift = torch.zeros(len(starts), 12, 2, dtype=torch.float64)
    shift[:, 0] = torch.linalg.solve_triangular(
        law.factors[0], starts.double().T, upper=False
    ).T
    return shift


def test_first_steps_lie_between_neighbours(train, law):
    state = Recombination(train, law, mean_block=3).start(200, seeded())
    apart = torch.cdist(train[:, 0], train[:, 0]).fill_diagonal_(torch.inf)
    reach = apart.kthvalue(5, 1).values[state.donors[:, 0]]
    assert (state.starts.norm(dim=1) <= reach + 1e-5).all()
    assert state.starts.norm(dim=1).max() > 0


def test_recombined_steps_are_real_innovations(train, law):
    state = Recombination(train, law, mean_block=3).start(40, seeded())
    real, new = law.innovations(train), law.innovations(state.z)
    steps = torch.arange(12).expand(40, 12)
    expected = real[state.donors, steps]
    torch.testing.assert_close(new[:, 1:], expected[:, 1:], atol=1e-4, rtol=0)


def test_blocks_have_the_mean_length(train, law):
    state = Recombination(train, law, mean_block=4).start(2000, seeded())
    changes = (state.donors.diff(dim=1) != 0).float()
    error = changes.std() / np.sqrt(changes.numel())
    assert abs(changes.mean() - 0.25) < 4 * error


def test_local_moves_keep_later_donors(train, law):
    reference = Recombination(train, law, mean_block=3)
    state = reference.start(30, seeded(1))
    first = torch.full((30,), 4)
    moved, _ = reference._regrow(state, first, first + 3, seeded(2))
    assert torch.equal(moved.donors[:, :4], state.donors[:, :4])
    assert torch.equal(moved.donors[:, 7:], state.donors[:, 7:])
    assert torch.equal(moved.z[:, :4], state.z[:, :4])


def test_log_moves_are_those_of_a_fresh_evaluation(train, law):
    """What a local move carries along equals the path's probability from scratch."""
    reference = Recombination(train, law, mean_block=3)
    state = reference.start(30, seeded(1))
    for k in range(5):
        state, _ = reference.propose(state, seeded(k))
    nothing = torch.zeros(30, dtype=torch.long)
    again, factor = reference._regrow(state, nothing, nothing, seeded(9))
    torch.testing.assert_close(again.z, state.z, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(again.log_moves, state.log_moves, atol=1e-3, rtol=1e-3)
    assert factor.abs().max() < 1e-2
