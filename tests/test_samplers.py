import math

import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.references import GaussianReference
from gluonts_dualkl.walks.samplers import TiltedWalkers, metropolis


@pytest.fixture(scope="module")
def reference():
    z = torch.as_tensor(ar1(200, 6, 1, 0.5, seed=1))
    return GaussianReference(CausalGaussian.fit(z, 1, 1e6, 1e-3))


def last_step(z):
    return torch.stack([z[:, -1, 0], z[:, -1, 0].square()], 1)


@pytest.mark.parametrize("strength", [0.5, 3.0])
def test_normaliser_of_a_gaussian_tilt_is_known(reference, strength):
    """``log E[exp(a z)] = a^2 v / 2`` for a Gaussian of variance ``v``."""
    walkers = TiltedWalkers(
        reference, last_step, 4000, torch.Generator().manual_seed(0)
    )
    weighted, integrated = walkers.tilt(torch.tensor([strength, 0.0]), 10)
    variance = float(reference.law.variances[-1, 0])
    truth = 0.5 * strength**2 * variance
    assert weighted == pytest.approx(truth, abs=0.05 * truth + 0.03)
    assert integrated == pytest.approx(truth, abs=0.05 * truth + 0.03)
    end = walkers.state.z[:, -1, 0]
    error = math.sqrt(variance / len(end))
    assert abs(end.mean() - strength * variance) < 6 * error


def test_normaliser_of_a_quadratic_tilt_is_known(reference):
    """``E[exp(-b z^2)] = (1 + 2 b v)^(-1/2)``."""
    walkers = TiltedWalkers(
        reference, last_step, 4000, torch.Generator().manual_seed(0)
    )
    weighted, integrated = walkers.tilt(torch.tensor([0.0, -2.0]), 10)
    truth = -0.5 * math.log(1 + 4 * float(reference.law.variances[-1, 0]))
    assert weighted == pytest.approx(truth, abs=0.05)
    assert integrated == pytest.approx(truth, abs=0.05)


def test_guard_is_part_of_the_law(reference):
    walkers = TiltedWalkers(
        reference,
        last_step,
        500,
        torch.Generator().manual_seed(0),
        guard=lambda z: -1e3 * (z[:, 0, 0] < 0),
    )
    walkers.move(60)
    assert (walkers.state.z[:, 0, 0] < 0).float().mean() < 0.01


def test_tilts_add_up(reference):
    generator = torch.Generator().manual_seed(0)
    walkers = TiltedWalkers(reference, last_step, 300, generator)
    walkers.tilt(torch.tensor([0.5, 0.0]), 3)
    walkers.tilt(torch.tensor([0.5, -0.1]), 3)
    np.testing.assert_allclose(walkers.weights, [1.0, -0.1], rtol=1e-5)


def test_a_guard_apart_is_a_guard_within_the_tilt(reference):
    """The same chain, but the guard sees only what else would be accepted."""
    start = reference.start(200, torch.Generator().manual_seed(1))
    seen = []

    def tilt(z):
        return 9 * z[:, -1, 0]

    def guard(z):
        seen.append(len(z))
        return torch.where(z[:, 0, 0] > 0.5, -80.0, 0.0)

    def both(z):
        return tilt(z) + guard(z)

    sources = [torch.Generator().manual_seed(2) for _ in range(2)]
    within, level, _ = metropolis(reference, both, start, 12, sources[0])
    looked = sum(seen)
    seen.clear()
    apart, other, _ = metropolis(reference, tilt, start, 12, sources[1], guard)
    assert torch.equal(within.z, apart.z)
    assert torch.equal(level, other)
    assert sum(seen) < 0.8 * looked
