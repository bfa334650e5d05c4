import numpy as np
import pytest
import torch
from conftest import entries
from laws import ar1, ar1_total_correlation

from gluonts_dualkl import DualKLEstimator, DualKLGenerator
from gluonts_dualkl.analysis.divergence import held_out_ratios, summarise
from gluonts_dualkl.models.noise import NoiseModel
from gluonts_dualkl.models.partition import CRITICS, PARTITIONS, SAMPLERS, CriticModel
from gluonts_dualkl.models.recombination import DualModel

LENGTH, CHANNELS, PHI = 12, 2, 0.7


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def values():
    return ar1(150, LENGTH, CHANNELS, PHI, seed=1)


@pytest.fixture(scope="module")
def models(values):
    """One fitted model of every kind, trained for a moment."""
    return {
        "recombination": DualModel.fit(
            values, seeded(), max_rounds=2, num_walkers=100, num_steps=2
        ),
        **{
            path: CriticModel.fit(values, seeded(), path=path, max_steps=20)
            for path in PARTITIONS
        },
        "noise": NoiseModel.fit(values, seeded(), max_steps=40),
    }


NAMES = ("recombination", *PARTITIONS, "noise")


@pytest.mark.parametrize("name", NAMES)
def test_draws_are_finite_series_with_donors(models, name):
    draws = models[name].draw(20, 3, seeded(1))
    assert draws.z.shape == (20, LENGTH, CHANNELS)
    assert draws.z.isfinite().all()
    assert draws.donors.shape == (20, LENGTH)
    assert draws.donors.min() >= 0
    assert draws.donors.max() < 150
    again = models[name].draw(20, 3, seeded(1))
    assert torch.equal(draws.z, again.z)
    assert len(draws.z.unique(dim=0)) == 20


@pytest.mark.parametrize("name", NAMES)
def test_walks_are_chains(models, name):
    states, steps = models[name].walk(5, seeded(2))
    assert len(states) == len(steps) <= 6
    assert (np.diff(steps) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_held_out_nats_are_those_of_the_law(models, name):
    truth = ar1_total_correlation(LENGTH, CHANNELS, PHI)
    fresh = ar1(800, LENGTH, CHANNELS, PHI, seed=9)
    found = summarise(held_out_ratios(models[name], fresh))
    assert abs(found.value - truth) < 0.15 * truth
    assert abs(found.integrated - truth) < 0.2 * truth
    assert sum(found.per_leg.values()) == pytest.approx(found.value)


@pytest.mark.parametrize("name", NAMES)
def test_restored_models_are_equal(models, name):
    model = models[name]
    shared = {
        key: getattr(model, key)
        for key in ("marginals", "train", "gaussian", "copy_limits")
    }
    again = type(model).restore(shared, model.facts(), model.tensors())
    z = model.train[:7] + 0.1
    for leg, nats in model.log_ratio_of_scores(z).items():
        assert torch.equal(nats, again.log_ratio_of_scores(z)[leg])
    assert torch.equal(model.draw(4, 2, seeded()).z, again.draw(4, 2, seeded()).z)
    assert again.losses == model.losses
    assert again.integrated_shift == model.integrated_shift


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers(values, sampler):
    model = CriticModel.fit(
        values, seeded(), path="line", sampler=sampler, max_steps=10
    )
    z = model.draw(60, 4, seeded()).z
    assert z.shape == (60, LENGTH, CHANNELS)
    assert z.isfinite().all()
    assert 0.2 < float(z.var()) < 2


@pytest.mark.parametrize("critic", CRITICS)
def test_critics_and_terms(values, critic):
    model = CriticModel.fit(
        values,
        seeded(),
        path="single",
        critic=critic,
        objective="donsker_varadhan",
        orientation="marginals||data",
        local_neighbours=8,
        max_steps=10,
    )
    assert model.log_legs(model.train).shape == (150, 1)
    assert 0 <= model.slope <= 1.5


def test_legs_are_normalised_on_the_gaussian(models):
    model = models["tree"]
    drawn = model.gaussian.sample(20_000, seeded(3)).float()
    tilt = model.tilt(drawn).double().exp()
    error = float(tilt.std() / len(tilt) ** 0.5) + float(tilt.std() / 2000**0.5)
    assert abs(float(tilt.mean()) - 1) < 4 * error + 1e-9


def test_walked_negatives(values):
    model = CriticModel.fit(values, seeded(), walked_negatives=True, max_steps=10)
    assert model.draw(4, 2, seeded()).z.isfinite().all()


@pytest.mark.parametrize("path", ["tree", "noise"])
def test_estimators_of_other_paths_save_and_load(tmp_path, path):
    estimator = DualKLEstimator(
        path=path, path_settings={"max_steps": 10}, num_folds=2, num_steps=3
    )
    trained = estimator.train(entries(30))
    trained.serialize(tmp_path / "model")
    loaded = DualKLGenerator.deserialize(tmp_path / "model", device="cpu")
    assert np.array_equal(trained.sample(5, seed=1), loaded.sample(5, seed=1))
    assert trained.divergence() == loaded.divergence()
    assert trained.info()["path"] == loaded.info()["path"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "spiral"}, "path is 'spiral'; choose from recombination, single"),
        (
            {"path": "tree", "path_settings": {"depth": 3}},
            "'depth' is unknown to 'tree'",
        ),
        ({"path_settings": {"max_steps": 3}}, "it takes none"),
        (
            {"path": "tree", "path_settings": {"marginals": "rank"}},
            "'marginals' is unk",
        ),
    ],
)
def test_unknown_paths_and_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DualKLEstimator(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"critic": "forest"}, "critic is 'forest'; choose from convolution"),
        ({"sampler": "gibbs"}, "sampler is 'gibbs'; choose from mala"),
    ],
)
def test_unknown_parts_of_a_critic_model(values, settings, message):
    with pytest.raises(ValueError, match=message):
        CriticModel.fit(values, seeded(), **settings)
