import math

import pytest
import torch
from laws import ar1, ar1_total_correlation

from gluonts_dualkl.critics.networks import ConvCritic, MLPCritic, QuadraticCritic
from gluonts_dualkl.critics.objectives import OBJECTIVES, ORIENTATIONS
from gluonts_dualkl.critics.training import (
    LocalTerm,
    WalkedNegatives,
    _Chains,
    fit_critic,
)

LENGTH, PHI = 4, 0.6
KL = ar1_total_correlation(LENGTH, 1, PHI)
QUICK = {"max_steps": 120, "learning_rate": 1e-2, "batch_size": 256, "check_every": 20}
PLAIN = {"weight_decay": 1e-2, "input_noise": 0.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def series(num_series, seed, phi=PHI, length=LENGTH):
    return torch.as_tensor(ar1(num_series, length, 1, phi, seed))


class BlockPath:
    """Laws of independent blocks of 1, ..., T steps; one leg unless told otherwise."""

    def __init__(self, *sizes):
        self.sizes = sizes or (1, LENGTH)
        self.num_legs = len(self.sizes) - 1

    def draw(self, z, law, num_samples, generator):
        length, size = z.shape[1], self.sizes[law]
        shape = num_samples, length // size
        rows = torch.randint(len(z), shape, generator=generator)
        return z[rows.repeat_interleave(size, 1), torch.arange(length)]


def quadratic(num_legs=1):
    return QuadraticCritic(LENGTH, 1, num_legs)


def fit(network=None, path=None, phi=PHI, seed=1, **options):
    z = series(400, seed, phi)
    return fit_critic(
        quadratic() if network is None else network,
        path or BlockPath(),
        z[:300],
        z[300:],
        options.pop("generator", seeded()),
        **{**QUICK, **PLAIN, **options},
    )


def tolerance(levels, num_series=300):
    """Four standard errors of the training series, which decide what is learned."""
    return 4 * float(levels.std()) / math.sqrt(num_series)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_fresh_series_give_the_true_divergence(objective, orientation):
    critic = fit(objective=objective, orientation=orientation)
    levels = critic.log_ratio(series(4000, 9))
    assert float(levels.mean()) == pytest.approx(KL, abs=tolerance(levels))
    assert critic.held_out_losses.max() < math.log(2) - 0.02


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_independent_pixels_hold_nothing(objective):
    levels = fit(phi=0.0, objective=objective).log_ratio(series(4000, 9, phi=0.0))
    assert abs(float(levels.mean())) < 0.1


def test_convolution_learns_the_true_gradient():
    critic = fit(ConvCritic(1, 1), input_noise=0.1, weight_decay=0.3)
    z = series(500, 9).requires_grad_()
    (slope,) = torch.autograd.grad(critic.log_ratio(z).sum(), z)
    steps = torch.arange(LENGTH)
    covariance = PHI ** (steps[:, None] - steps).abs().float()
    truth = z.detach()[:, :, 0] @ (torch.eye(LENGTH) - covariance.inverse())
    cosine = torch.nn.functional.cosine_similarity(slope[:, :, 0], truth)
    assert cosine.mean() > 0.9


def test_each_leg_of_a_path_is_learned():
    """Pairs hold two steps' dependency, coupling the pairs one more."""
    path = BlockPath(1, 2, 4)
    critic = fit(quadratic(num_legs=2), path)
    nats = critic.scores(series(4000, 9))
    one = KL / (LENGTH - 1)
    for k, truth in enumerate([2 * one, one]):
        leg = nats[:, k]
        assert float(leg.mean()) == pytest.approx(truth, abs=tolerance(leg))
    draws = path.draw(series(300, 1), 1, 4000, seeded(5))
    below = critic.scores(draws)[:, 1].exp()
    error = float(below.std()) / math.sqrt(len(draws))
    assert float(below.mean()) == pytest.approx(1.0, abs=6 * error)


def exact_offset(z):
    """``log p/q`` of the first law of the tests, ``(n, 1)``."""
    steps = torch.arange(LENGTH)
    covariance = PHI ** (steps[:, None] - steps).abs().float()
    form = torch.eye(LENGTH) - covariance.inverse()
    flat = z[:, :, 0]
    return (0.5 * ((flat @ form) * flat).sum(1) + KL)[:, None]


def test_known_scores_leave_nothing_to_learn():
    """The network stays near zero where the offset is the answer."""
    critic = fit(offset=exact_offset)
    z = series(4000, 9)
    levels = critic.log_ratio(z)
    assert float(levels.mean()) == pytest.approx(KL, abs=tolerance(levels))
    assert critic.network(z).std() < 0.5 * levels.std()
    assert torch.allclose(
        critic.scores(z),
        critic.network(z) + exact_offset(z) - critic.log_normalisers,
    )


def test_best_weights_are_kept_and_the_given_network_is_not_touched():
    network = quadratic()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    calls = []
    critic = fit(network, max_steps=70, progress=lambda *call: calls.append(call))
    losses = dict(critic.history)
    assert list(losses) == [0, 20, 40, 60, 70]
    assert float(critic.held_out_losses.mean()) == pytest.approx(min(losses.values()))
    assert losses[critic.steps] == min(losses.values())
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)
    assert calls == [(step, 70, losses[step]) for step in (20, 40, 60, 70)]
    assert not critic.network.training
    assert not any(p.requires_grad for p in critic.network.parameters())
    after = network.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


def test_patience_ends_the_training():
    critic = fit(phi=0.0, learning_rate=0.1, check_every=2, patience=3)
    assert critic.history[-1][0] == critic.steps + 6


def test_interrupt_goes_through():
    def interrupt(*_):
        raise KeyboardInterrupt

    network = quadratic()
    before = network.matrix.clone()
    with pytest.raises(KeyboardInterrupt):
        fit(network, progress=interrupt)
    assert torch.equal(network.matrix, before)
    assert network.matrix.requires_grad


@pytest.mark.parametrize(
    "options",
    [
        {"input_noise": 0.3, "local": LocalTerm(neighbours=5, num_anchors=3)},
        {"objective": "donsker_varadhan", "walked": WalkedNegatives(20, 2)},
    ],
    ids=["local", "walked"],
)
def test_fit_is_reproducible(options):
    before = torch.get_rng_state()
    first, same = (fit(max_steps=5, **options) for _ in range(2))
    other = fit(max_steps=5, generator=seeded(1), **options)
    assert torch.equal(torch.get_rng_state(), before)
    z = series(10, 3)
    assert torch.equal(first.scores(z), same.scores(z))
    assert not torch.equal(first.scores(z), other.scores(z))


# Localised estimation.


def clusters(num_series, seed):
    """Two modes on the diagonal; inside each the pixels are anticorrelated."""
    noise = torch.randn(num_series, 2, generator=seeded(seed))
    second = -0.9 * noise[:, 0] + math.sqrt(1 - 0.81) * noise[:, 1]
    modes = torch.where(torch.arange(num_series) % 2 == 0, 1.0, -1.0)
    inside = 0.3 * torch.stack([noise[:, 0], second], 1)
    return (modes[:, None] + inside)[:, :, None]


def test_local_term_teaches_the_contrast_inside_neighbourhoods():
    z, unseen = clusters(200, 1), clusters(200, 2)
    term = LocalTerm(neighbours=60)
    members, marginal = term.draw(unseen, term.neighbourhoods(unseen), seeded(3))
    contrasts = []
    for weight in (1e-9, 5.0):
        critic = fit_critic(
            MLPCritic(2, 1, 1),
            BlockPath(1, 2),
            z[:150],
            z[150:],
            seeded(),
            local=LocalTerm(neighbours=60, weight=weight),
            max_steps=80,
            learning_rate=1e-2,
            patience=100,
            **PLAIN,
        )
        levels = [critic.log_ratio(x.flatten(0, 1)).mean() for x in (members, marginal)]
        contrasts.append(float(levels[0] - levels[1]))
    assert contrasts[1] > contrasts[0] + 0.3


# Walked negatives.


def test_walked_negatives_recover_the_moments():
    """The tilted law ``q exp(s)`` of a quadratic critic is Gaussian: read it off."""
    critic = fit(
        objective="donsker_varadhan",
        walked=WalkedNegatives(num_chains=300, num_steps=3, step_size=0.5),
        max_steps=200,
        patience=100,
    )
    a = critic.network.matrix[0]
    covariance = (torch.eye(LENGTH) - a - a.T).inverse()
    steps = torch.arange(LENGTH)
    truth = PHI ** (steps[:, None] - steps).abs().float()
    errors = torch.sqrt((1 + truth.square()) / 300)
    assert ((covariance - truth).abs() / errors).max() < 4
    levels = critic.log_ratio(series(4000, 9))
    assert float(levels.mean()) == pytest.approx(KL, abs=tolerance(levels))


def test_walked_negatives_beside_the_objective_of_two_legs():
    walked = WalkedNegatives(64, 1, beside_objective=True)
    critic = fit(quadratic(2), BlockPath(1, 2, 4), walked=walked, max_steps=60)
    assert critic.held_out_losses.max() < math.log(2) - 0.01


def chains(num_chains=2000, step_size=0.8):
    settings = WalkedNegatives(num_chains, 20, step_size=step_size)
    return _Chains(settings, 3 * series(50, 0), seeded())


def test_chains_keep_their_law():
    """``s = 0`` leaves ``N(0, 1)``; ``s = -z^2/2`` has variance 1/2."""
    for curvature in (0.0, 1.0):
        walk = chains()
        for _ in range(3):
            z = walk.walk(lambda z, c=curvature: -0.5 * c * z.square().sum((1, 2)))
        squares = z.square().flatten()
        error = float(squares.std()) / math.sqrt(len(squares))
        truth = 1 / (1 + curvature)
        assert float(squares.mean()) == pytest.approx(truth, abs=4 * error)


def test_chains_that_escape_start_anew_with_half_the_step():
    walk = chains(step_size=0.5)
    z = walk.walk(lambda z: 3 * z.square().sum((1, 2)))
    assert torch.isfinite(z).all()
    assert z.flatten(1).norm(dim=1).max() < max(walk.radius, 6)
    assert walk.step_size < 0.5


WALKED = WalkedNegatives()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "guess"}, "objective is 'guess'"),
        ({"orientation": "up"}, "orientation is 'up'"),
        ({"max_steps": 0}, "max_steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"check_every": 0}, "check_every is 0"),
        ({"patience": 0}, "patience is 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"input_noise": -0.1}, "input_noise is -0.1"),
        ({"network": quadratic(2)}, r"network gives shape \(2, 2\)"),
        ({"offset": lambda z: z[:, :, 0]}, r"offset gives shape \(2, 4\)"),
        ({"walked": WALKED}, "walked negatives alone train donsker_varadhan"),
        (
            {
                "walked": WALKED,
                "objective": "donsker_varadhan",
                "path": BlockPath(1, 2, 4),
            },
            "on 2; set beside_objective",
        ),
        (
            {"walked": WALKED, "orientation": "marginals||data"},
            "walked negatives replace",
        ),
        ({"local": LocalTerm(neighbours=301)}, "there are 300 training series"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        fit(**options)


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        (torch.zeros(5, 4), torch.zeros(5, 4, 1), "train has shape"),
        (torch.zeros(1, 4, 1), torch.zeros(5, 4, 1), "train has shape"),
        (torch.zeros(5, 4, 1), torch.zeros(5, 3, 1), "held_out has shape"),
        (torch.zeros(5, 4, 1), torch.full((5, 4, 1), torch.nan), "held_out has values"),
    ],
)
def test_series_are_checked(train, held_out, message):
    with pytest.raises(ValueError, match=message):
        fit_critic(quadratic(), BlockPath(), train, held_out, seeded())


@pytest.mark.parametrize("name", ["num_chains", "num_steps", "step_size", "decay"])
def test_walk_settings_are_checked(name):
    with pytest.raises(ValueError, match=f"{name} is 0"):
        WalkedNegatives(**{name: 0})
