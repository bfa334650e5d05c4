import pytest
import torch
from laws import ar1

from gluonts_dualkl.evaluation.checks.tasks import student_autoregression
from gluonts_dualkl.laws.elliptical import RadialLaw
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.marginals import MarginalMap
from gluonts_dualkl.laws.references import GaussianReference

LENGTH = 24


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scores(values):
    return MarginalMap.fit(values).to_normal(torch.as_tensor(values))


def test_a_common_scale_is_most_of_what_a_gaussian_misses():
    law = student_autoregression(11.75)
    values = law.sample(200, 0)
    maps = MarginalMap.fit(values)
    z = maps.to_normal(torch.as_tensor(values))
    gaussian = CausalGaussian.select(z, seeded())
    radial = RadialLaw.fit(z, gaussian, seeded())
    fresh = maps.to_normal(torch.as_tensor(law.sample(4000, 1)))
    base = float(gaussian.log_ratio(fresh).mean())
    more = float(radial.log_ratio(gaussian.innovations(fresh)).mean())
    assert base < law.nats - 1.5
    assert abs(base + more - law.nats) < 0.06 * law.nats


def test_a_gaussian_gains_nothing():
    z = torch.as_tensor(ar1(200, LENGTH, 2, 0.7, 1))
    gaussian = CausalGaussian.select(z, seeded())
    radial = RadialLaw.fit(z, gaussian, seeded())
    fresh = gaussian.innovations(torch.as_tensor(ar1(2000, LENGTH, 2, 0.7, 2)))
    assert abs(float(radial.log_ratio(fresh).mean())) < 0.05


@pytest.fixture
def wide():
    size = torch.tensor(6.0, dtype=torch.float64)
    return RadialLaw(size.log(), torch.tensor(0.5, dtype=torch.float64), size)


def test_the_dual_function_is_normalised(wide):
    noise = torch.randn(200_000, 3, 2, generator=seeded()).double()
    weights = wide.log_ratio(noise).exp()
    error = float(weights.std()) / len(weights) ** 0.5
    assert abs(float(weights.mean()) - 1) < 4 * error


def test_radii_are_drawn_from_the_law(wide):
    noise = torch.randn(20_000, 3, 2, generator=seeded()).double()
    drawn = wide.with_own_radius(noise, seeded(1))
    log_square = drawn.square().sum((1, 2)).log()
    assert abs(float(log_square.mean() - wide.mean)) < 4 * 0.5 / 20_000**0.5
    assert float(log_square.std()) == pytest.approx(0.5, rel=0.03)
    directions = [
        e / e.square().sum((1, 2), keepdim=True).sqrt() for e in (noise, drawn)
    ]
    assert torch.allclose(*directions)


def test_moves_leave_the_elliptical_law(wide):
    z = torch.as_tensor(ar1(300, 3, 2, 0.5, 0))
    gaussian = CausalGaussian.fit(z, 1, 1e6, 1e-2)
    reference = GaussianReference(gaussian, wide)
    state, generator = reference.start(4000, seeded()), seeded(1)
    first = state.innovations
    for _ in range(20):
        state, factor = reference.propose(state, generator)
        assert (factor == 0).all()
    log_square = state.innovations.square().sum((1, 2)).log()
    assert abs(float(log_square.mean() - wide.mean)) < 4 * 0.5 / 4000**0.5
    assert float(log_square.std()) == pytest.approx(0.5, rel=0.06)
    again = torch.corrcoef(torch.stack([first[:, 0, 0], state.innovations[:, 0, 0]]))
    assert abs(float(again[0, 1])) < 0.3


def test_without_a_gain_the_leg_says_nothing():
    size = torch.tensor(6.0, dtype=torch.float64)
    none = RadialLaw(size.log(), torch.zeros((), dtype=torch.float64), size)
    assert none.is_gaussian
    assert (none.log_ratio(torch.randn(5, 3, 2, generator=seeded())) == 0).all()
    assert GaussianReference(None, none).radial is None
