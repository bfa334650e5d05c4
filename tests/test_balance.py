import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl import DualKLEstimator
from gluonts_dualkl.laws.balance import Crowd, Independent
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.walks.samplers import metropolis

NUM, LENGTH = 60, 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def train():
    return torch.as_tensor(ar1(NUM, LENGTH, 2, 0.7, seed=1))


def recombination(train, balance):
    law = CausalGaussian.fit(train, 2, 100.0, 1e-2)
    return Recombination(train, law, mean_block=4, balance=balance)


def walked(reference, num, tilt=None, num_steps=30, seed=3):
    start = reference.start(num, seeded(seed))
    tilt = tilt or (lambda z: z.new_zeros(len(z)))
    return metropolis(reference, tilt, start, num_steps, seeded(seed + 1))[0]


def reuse(donors):
    """Share of steps whose donor another draw of the batch has as well."""
    shares = []
    for batch in donors.split(NUM):
        for column in batch.T:
            _, place, counts = column.unique(return_inverse=True, return_counts=True)
            shares.append((counts[place] > 1).float().mean())
    return float(torch.stack(shares).mean())


def crowd(held, num_donors, balance=5.0, batch_size=100):
    return Crowd(torch.as_tensor(held), num_donors, batch_size, balance, seeded())


class TestCrowd:
    def test_a_donor_that_others_have_is_avoided(self):
        held = [[0], [0], [1], [2]]
        choosers = crowd(held, 4, balance=50.0)
        picked = choosers.choose(torch.tensor([2]), torch.zeros(1, 3))
        assert picked.tolist() == [1]  # 0 and 2 are taken, its own is not

    def test_weights_count_as_well(self):
        log_weights = torch.tensor([[0.0, -60.0]])
        picked = crowd([[0], [1]], 2).choose(torch.tensor([1]), log_weights)
        assert picked.tolist() == [0]

    def test_probability_falls_by_the_factor(self):
        held = torch.tensor([[0]] + [[2]] * 4000)
        one_each = Crowd(held, 3, 4001, np.log(3.0), seeded(1))
        rows = torch.arange(1, 2)
        found = [int(one_each._others(rows)[0, d]) for d in range(3)]
        assert found == [1, 0, 3999]
        draws = torch.cat(
            [
                Crowd(held[:2], 2 + 1, 2, np.log(3.0), seeded(k)).choose(
                    rows, torch.zeros(1, 2)
                )
                for k in range(2000)
            ]
        )
        assert float((draws == 0).float().mean()) == pytest.approx(0.25, abs=0.04)

    def test_later_rounds_know_the_earlier(self):
        held = torch.zeros(20, 1, dtype=torch.long)
        choosers = crowd(held, 21, balance=50.0)
        picked = choosers.choose(torch.arange(20), torch.zeros(20, 21))
        independent = Independent(torch.rand(20, generator=seeded()))
        alone = independent.choose(torch.arange(20), torch.zeros(20, 21))
        assert len(picked.unique()) > len(alone.unique())
        assert len(picked.unique()) >= 15

    def test_batches_do_not_see_each_other(self):
        held = torch.tensor([[0], [1], [0], [0]])
        choosers = crowd(held, 2, balance=50.0, batch_size=2)
        assert choosers.choose(torch.tensor([1]), torch.zeros(1, 2)).tolist() == [1]
        assert choosers._others(torch.tensor([3])).tolist() == [[1.0, 0.0]]

    def test_a_stretch_counts_by_its_share(self):
        choosers = crowd([[0, 1], [2, 2]], 3)
        assert choosers._others(torch.tensor([1])).tolist() == [[0.5, 0.5, 0.0]]


def test_balanced_walks_share_out_the_donors(train):
    alone = walked(recombination(train, 0.0), 4 * NUM)
    shared = walked(recombination(train, 5.0), 4 * NUM)
    assert reuse(alone.donors) > 0.6
    assert reuse(shared.donors) < 0.52


def test_starts_are_independent_with_or_without_balance(train):
    alone, shared = (recombination(train, b).start(50, seeded()) for b in (0.0, 5.0))
    assert torch.equal(alone.z, shared.z)
    assert torch.equal(alone.donors, shared.donors)


def test_a_row_by_itself_walks_as_without_balance(train):
    """One row has no others: the law is that of the unbalanced walk."""

    def ends(balance):
        reference = recombination(train, balance)
        states = [walked(reference, 1, num_steps=6, seed=2 * k) for k in range(300)]
        return torch.cat([state.z for state in states])

    alone, shared = ends(0.0), ends(5.0)
    error = (alone.var(0) / len(alone) + shared.var(0) / len(shared)).sqrt()
    assert ((alone.mean(0) - shared.mean(0)) / error).abs().max() < 4.5


def test_balance_keeps_the_law_of_a_draw(train):
    """Moments of single draws with and without balance agree."""

    def moments(balance):
        z = walked(recombination(train, balance), 30 * NUM, num_steps=40).z
        lagged = (z[:, 1:] * z[:, :-1]).mean(1)
        return torch.cat([z.mean(1), z.square().mean(1), z[:, -1], lagged], 1)

    alone, shared = moments(0.0), moments(5.0)
    gap = (alone.mean(0) - shared.mean(0)).abs() / alone.std(0)
    assert gap.max() < 0.12
    assert (shared.std(0) / alone.std(0) - 1).abs().max() < 0.12


def test_balance_holds_a_tilt_towards_some_donors_back(train):
    """As the module says: all donors are to be used, whatever the tilt prefers."""

    def level(balance):
        reference = recombination(train, balance)
        z = walked(reference, 4 * NUM, lambda z: 1.5 * z[:, :, 0].mean(1)).z
        return float(z[:, :, 0].mean())

    start = float(recombination(train, 0.0).start(4 * NUM, seeded(3)).z[..., 0].mean())
    assert start + 0.1 < level(5.0) < level(0.0)


def test_the_estimator_passes_its_arguments_on():
    settings = {"num_walkers": 60, "max_rounds": 1, "device": "cpu"}
    values = ar1(30, LENGTH, 2, 0.7, seed=1)
    plain = DualKLEstimator(**settings, balance=0.0, guard_share=0.0)
    model = plain.fit_model(values)
    assert (model.balance, model.copy_ratio, model.reference.balance) == (0, 0, 0)
    model = DualKLEstimator(**settings).fit_model(values)
    assert model.reference.balance == model.balance == 5
    assert 0 < model.copy_ratio < 1
