import io
import math

import pytest
import torch

from gluonts_dualkl.critics.networks import (
    ConvCritic,
    CriticFit,
    MLPCritic,
    QuadraticCritic,
    check_scores,
)

LENGTH, CHANNELS, LEGS = 8, 3, 2
NETWORKS = {
    "conv": lambda **k: ConvCritic(CHANNELS, LEGS, **k),
    "conv with gains": lambda **k: ConvCritic(CHANNELS, LEGS, length=LENGTH, **k),
    "mlp": lambda **k: MLPCritic(LENGTH, CHANNELS, LEGS, **k),
    "quadratic": lambda **k: QuadraticCritic(LENGTH, CHANNELS, LEGS, **k),
    "low rank": lambda **k: QuadraticCritic(LENGTH, CHANNELS, LEGS, rank=2, **k),
}
each_network = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(num_samples=6, seed=0, length=LENGTH):
    return torch.randn(num_samples, length, CHANNELS, generator=seeded(seed))


@each_network
def test_scores_start_small(build):
    scores = build()(series(200))
    assert scores.shape == (200, LEGS)
    assert scores.detach().abs().max() < 3
    assert scores.detach().std(0).min() > 1e-4


@each_network
def test_each_parameter_receives_a_gradient(build):
    network = build()
    network(series()).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        per_leg = parameter.grad.reshape(len(parameter), -1).abs().amax(1)
        assert (per_leg > 0).all(), name


@each_network
def test_twice_differentiable(build):
    network = build().double()
    z = series(2).double().requires_grad_()
    assert torch.autograd.gradcheck(network, z)
    assert torch.autograd.gradgradcheck(network, z)


@each_network
def test_a_score_depends_on_its_own_series_only(build):
    network, z = build(), series()
    alone = torch.cat([network(row[None]) for row in z])
    assert torch.allclose(network(z), alone, atol=1e-6)


@each_network
def test_weights_come_from_the_generator_alone(build):
    before = torch.get_rng_state()
    same = [build(generator=seeded(3)) for _ in range(2)]
    other = build(generator=seeded(4))
    assert torch.equal(torch.get_rng_state(), before)
    z = series()
    assert torch.equal(same[0](z), same[1](z))
    assert not torch.equal(same[0](z), other(z))
    assert torch.equal(build()(z), build()(z))


def test_conv_takes_any_length():
    for length in (1, 2, 30):
        z = series(4, length=length)
        assert ConvCritic(CHANNELS, LEGS)(z).shape == (4, LEGS)


def test_local_energies_of_far_steps_add_up():
    """``d^2 s / dz_t dz_u = 0`` beyond the receptive field, and only there."""
    network = ConvCritic(1, 1, depth=2, kernel=3).double()
    z = torch.randn(1, 16, 1, generator=seeded()).double()
    hessian = torch.autograd.functional.hessian(lambda z: network(z).sum(), z)
    hessian = hessian.reshape(16, 16).abs()
    distance = (torch.arange(16)[:, None] - torch.arange(16)).abs()
    reach = 1 + 2 * (3 - 1)
    assert hessian[distance > reach].max() < 1e-12
    assert hessian[distance == reach].min() > 0


def test_gains_start_neutral_and_act_by_leg_and_step():
    plain = ConvCritic(CHANNELS, LEGS)
    gained = ConvCritic(CHANNELS, LEGS, length=LENGTH)
    z = series()
    start = gained(z)
    assert torch.allclose(start, plain(z), atol=1e-6)
    with torch.no_grad():
        gained.gains[1] = -1
    assert torch.allclose(gained(z)[:, 0], start[:, 0])
    assert torch.allclose(gained(z)[:, 1], gained.head.bias[1].expand(len(z)))


@pytest.mark.parametrize("rank", [None, 3])
def test_quadratic_is_a_quadratic_form(rank):
    network = QuadraticCritic(2, 2, 1, rank=rank)
    z = torch.randn(1, 2, 2, generator=seeded())
    with torch.no_grad():
        network.constant.fill_(0.7)
        a = network.matrix[0]
        if rank is not None:
            a = a @ network.signs[0].diag() @ a.T
        v = z.flatten()
        expected = v @ a @ v + network.linear[0] @ v + 0.7
        assert float(network(z)) == pytest.approx(float(expected), abs=1e-6)


def fit(network=None, offset=None, orientation="marginals||data"):
    return CriticFit(
        network=(network or NETWORKS["conv"]()).requires_grad_(False),
        offset=offset,
        orientation=orientation,
        log_normalisers=torch.tensor([0.5, -1.0]),
        held_out_losses=torch.tensor([0.6, 0.2]),
        history=((0, math.log(2)), (25, 0.4)),
        steps=25,
    )


def test_log_ratio_is_the_sum_of_the_normalised_legs():
    z = series()

    def offset(z):
        return z.sum((1, 2))[:, None] * torch.tensor([1.0, 0.0])

    critic = fit(offset=offset)
    expected = critic.network(z) + offset(z) - torch.tensor([0.5, -1.0])
    assert torch.allclose(critic.scores(z), expected)
    assert torch.allclose(critic.log_ratio(z), expected.sum(1))


def test_state_survives_a_file():
    critic, buffer = fit(), io.BytesIO()
    torch.save(critic.state(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    other = NETWORKS["conv"](generator=seeded(9))
    restored = CriticFit.from_state(other, state)
    z = series()
    assert torch.equal(restored.scores(z), critic.scores(z))
    assert not torch.equal(other(z), critic.network(z))
    assert restored.orientation == critic.orientation
    assert restored.history == critic.history
    assert restored.steps == 25
    assert torch.equal(restored.held_out_losses, critic.held_out_losses)
    assert not any(p.requires_grad for p in restored.network.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConvCritic(0, 1), "num_channels is 0"),
        (lambda: ConvCritic(1, 0), "num_legs is 0"),
        (lambda: ConvCritic(1, 1, width=0), "width is 0"),
        (lambda: ConvCritic(1, 1, depth=0), "depth is 0"),
        (lambda: ConvCritic(1, 1, kernel=0), "kernel is 0"),
        (lambda: ConvCritic(1, 1, length=0), "length is 0"),
        (lambda: ConvCritic(1, 1, length=4)(torch.zeros(2, 5, 1)), "series have 5"),
        (lambda: MLPCritic(0, 1, 1), "length is 0"),
        (lambda: MLPCritic(1, 1, 1, depth=0), "depth is 0"),
        (lambda: QuadraticCritic(1, 1, 1, rank=0), "rank is 0"),
        (
            lambda: check_scores(ConvCritic(3, 2), None, series(), 1),
            "network gives shape",
        ),
        (
            lambda: check_scores(ConvCritic(3, 2), lambda z: z.sum(1), series(), 2),
            "offset gives shape",
        ),
    ],
)
def test_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()
