"""Baselines: one list, one body, and two laws that they must learn."""

import numpy as np
import pytest

from gluonts_dualkl.evaluation.baselines import BASELINES, Baseline, baseline_class
from gluonts_dualkl.evaluation.baselines.base import draw_shrunk
from gluonts_dualkl.evaluation.baselines.deep import DeepBaseline
from gluonts_dualkl.evaluation.baselines.tuning import tune

NUM, LENGTH = 60, 16
QUICK = {
    "dualkl": {
        "max_rounds": 2,
        "num_walkers": 100,
        "num_steps": 5,
    },
}
# the deep and external ones have tests of their own
QUICK_NAMES = [
    name
    for name, kind in BASELINES.items()
    if not issubclass(kind, DeepBaseline) and not kind.lacks()
]
LEARNERS = sorted(set(QUICK_NAMES) - {"independent_marginals"})


def make(name, **options):
    return BASELINES[name](**{**QUICK.get(name, {}), **options})


def sines(num, seed=0):
    """Sines of random phase and pitch, two channels in quadrature."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (num, 1))
    pitch = rng.uniform(0.3, 0.6, (num, 1))
    angle = phase + pitch * np.arange(LENGTH)
    return np.stack([np.sin(angle), 5 + 2 * np.cos(angle)], axis=2)


def autoregression(num, seed=0, phi=0.8):
    """Stationary AR(1) of variance one, one channel."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, LENGTH, 1))
    for t in range(1, LENGTH):
        x[:, t] = phi * x[:, t - 1] + np.sqrt(1 - phi**2) * x[:, t]
    return x


@pytest.fixture(scope="module")
def windows():
    """Sines beside a channel of whole numbers and a constant one."""
    x = sines(NUM)
    steps = np.round(x[..., :1])
    return np.concatenate([x, steps, np.full_like(steps, 3.0)], axis=2)


@pytest.fixture(scope="module", params=QUICK_NAMES)
def fitted(request, windows):
    return request.param, make(request.param).fit(windows)


def test_draws_are_windows_of_the_data(fitted, windows):
    _, baseline = fitted
    for num in (1, 90):
        drawn = baseline.sample(num, seed=1)
        assert drawn.shape == (num, LENGTH, 4)
        assert np.isfinite(drawn).all()
    assert set(np.unique(drawn[..., 2])) <= {-1.0, 0.0, 1.0}
    np.testing.assert_allclose(drawn[..., 1].mean(), windows[..., 1].mean(), atol=0.8)


def test_the_seed_decides(fitted):
    _, baseline = fitted
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (baseline.sample(20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    after = np.random.get_state()[1]  # noqa: NPY002
    np.testing.assert_array_equal(after, state)


def test_saved_and_loaded_it_draws_the_same(fitted, tmp_path):
    _, baseline = fitted
    baseline.save(tmp_path / "saved")
    loaded = type(baseline).load(tmp_path / "saved")
    assert loaded.arguments == baseline.arguments
    np.testing.assert_array_equal(loaded.sample(7, 2), baseline.sample(7, 2))
    with pytest.raises(FileExistsError):
        baseline.save(tmp_path / "saved")


def test_the_windows_are_not_changed(fitted, windows):
    name, _ = fitted
    before = windows.copy()
    if name != "dualkl":
        make(name).fit(windows).sample(5)
    np.testing.assert_array_equal(windows, before)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("law", [sines, autoregression])
def test_learns_more_than_independent_marginals(name, law):
    train, fresh = law(NUM), law(400, seed=1)
    drawn = make(name).fit(train).sample(200, seed=2)
    independent = make("independent_marginals").fit(train).sample(200, seed=2)
    assert distance(fresh, drawn) < 0.8 * distance(fresh, independent)


def distance(real, drawn):
    """Root mean square difference of the covariances of the pixels."""
    first, second = (np.cov(x.reshape(len(x), -1).T) for x in (real, drawn))
    scale = np.sqrt(np.outer(np.diag(first), np.diag(first)))
    return np.sqrt(np.mean(((first - second) / scale) ** 2))


@pytest.mark.parametrize(
    "name", ["pca_gaussian", "kernel_density", "gaussian_copula", "dualkl"]
)
def test_validation_windows_are_used_or_ignored(name, tmp_path):
    baseline = make(name).fit(sines(NUM), validation=sines(20, seed=5))
    assert baseline.sample(3).shape == (3, LENGTH, 2)
    baseline.save(tmp_path / "saved")
    loaded = BASELINES[name].load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.sample(3), baseline.sample(3))


@pytest.mark.parametrize(
    ("windows", "validation", "message"),
    [
        (np.zeros((9, 8)), None, "windows: shape"),
        (np.zeros((3, 8, 1)), None, "at least 4 series"),
        (np.zeros((9, 3, 1)), None, "of 4 steps"),
        (np.full((9, 8, 1), np.nan), None, "NaN"),
        (np.zeros((9, 8, 1)), np.zeros((9, 7, 1)), "validation: series of shape"),
    ],
)
def test_bad_windows(windows, validation, message):
    with pytest.raises(ValueError, match=message):
        make("mixup").fit(windows, validation)


def test_bad_requests(tmp_path):
    with pytest.raises(ValueError, match="not fitted"):
        make("mixup").sample(1)
    with pytest.raises(ValueError, match="not fitted"):
        make("mixup").save(tmp_path / "saved")
    baseline = make("mixup").fit(sines(8))
    with pytest.raises(ValueError, match="num_samples: 0"):
        baseline.sample(0)
    with pytest.raises(ValueError, match="seed: -1"):
        baseline.sample(1, seed=-1)
    baseline.save(tmp_path / "saved")
    with pytest.raises(ValueError, match="holds a Mixup, not a Jitter"):
        BASELINES["jitter"].load(tmp_path / "saved")
    with pytest.raises(FileNotFoundError, match="no saved baseline"):
        BASELINES["jitter"].load(tmp_path)
    with pytest.raises(ValueError, match="no generator 'gan', choose from dualkl"):
        baseline_class("gan")


def test_registry():
    assert all(issubclass(kind, Baseline) for kind in BASELINES.values())
    assert len(set(BASELINES.values())) == len(BASELINES)
    for kind in BASELINES.values():
        for arguments in kind.grid:
            assert set(arguments) <= set(kind(**arguments).arguments)


def test_shrunk_draws_have_the_covariance():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((400, 3)) @ np.array(
        [[1, 0.8, 0], [0, 0.6, 0], [0, 0, 1]]
    )
    drawn = draw_shrunk(rows, 20_000, rng)
    np.testing.assert_allclose(np.cov(drawn.T), rows.T @ rows / 400, atol=0.05)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("name", ["moving_blocks", "stationary_blocks"])
def test_blocks_are_pieces_of_windows(name, aligned):
    values = np.arange(20.0 * 12).reshape(20, 12, 1)
    options = {"block_length": 4, "aligned": aligned, "differences": False}
    drawn = make(name, **options).fit(values).sample(500)[..., 0]
    follows = np.isclose(np.diff(drawn, axis=1), 1).mean()
    assert 0.68 < follows < 0.82
    if aligned:
        steps = np.tile(np.arange(12.0), (500, 1))
        np.testing.assert_allclose(drawn % 12, steps, atol=1e-9)


@pytest.mark.parametrize("name", ["moving_blocks", "stationary_blocks"])
def test_blocks_use_every_window_once_at_each_step(name):
    values = np.arange(20.0 * 12).reshape(20, 12, 1)
    blocks = make(name, block_length=4, differences=False).fit(values)
    drawn = blocks.sample(40)[..., 0]
    for batch in (drawn[:20], drawn[20:]):
        np.testing.assert_allclose(np.sort(batch, axis=0), values[..., 0], atol=1e-9)


def test_surrogates_keep_the_spectrum():
    train = autoregression(8)
    surrogates = make("phase_surrogates", differences=False).fit(train)
    real = np.abs(np.fft.rfft((train - train.mean(0)) / train.std(0), axis=1))
    z = (surrogates.sample(30) - train.mean(0)) / train.std(0)
    drawn = np.abs(np.fft.rfft(z, axis=1))
    nearest = np.abs(drawn[:, None] - real[None]).max((2, 3)).min(1)
    np.testing.assert_allclose(nearest, 0, atol=1e-9)


def test_an_explosive_regression_is_drawn_in():
    train = np.exp(0.3 * np.arange(30))[:, None] * np.random.default_rng(0).normal(
        size=(20, 1, 1)
    )
    drawn = make("var_simulation").fit(np.cumsum(train, 1)).sample(50)
    assert np.isfinite(drawn).all()


def test_bridge_follows_the_data_at_small_bandwidth():
    train = sines(NUM)
    bridge = make("schroedinger_bridge", bandwidth=0.05).fit(train)
    drawn = bridge.sample(40)
    nearest = np.abs(drawn[:, None] - train[None]).max((2, 3)).min(1)
    assert np.median(nearest) < 0.6


def test_tuning_prefers_novel_candidates():
    tuned = tune("jitter", autoregression(80), seed=0)
    assert set(tuned.arguments) == {"noise"}
    assert list(tuned.trials["noise"]) == [0.03, 0.1, 0.3]
    assert tuned.trials["dcr_share"].iloc[0] > 0.9
    assert tune("training_copies", autoregression(80)).arguments == {}
    with pytest.raises(ValueError, match="at least 34"):
        tune("jitter", autoregression(20))
