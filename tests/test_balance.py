import itertools

import numpy as np
import pytest
import torch
from laws import ar1

from gluonts_dualkl import DualKLEstimator
from gluonts_dualkl.laws.gaussian import CausalGaussian
from gluonts_dualkl.laws.recombination import Recombination
from gluonts_dualkl.walks import balance
from gluonts_dualkl.walks.balance import balanced_walk, least_repeated
from gluonts_dualkl.walks.samplers import metropolis

NUM, LENGTH = 60, 12


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def reference():
    train = torch.as_tensor(ar1(NUM, LENGTH, 2, 0.7, seed=1))
    law = CausalGaussian.fit(train, 2, 100.0, 1e-2)
    return Recombination(train, law, mean_block=4)


def flat(z):
    return z.new_zeros(len(z))


def walked(reference, num, chains, tilt=flat, num_steps=30, seed=3, **settings):
    start = reference.start(num * chains, seeded(seed))
    source = seeded(seed + 1)
    arguments = (reference, tilt, start, num_steps, source, chains, NUM)
    return balanced_walk(*arguments, **settings)


def reuse(donors):
    """Share of steps whose donor another draw of the batch has as well."""
    shares = []
    for batch in donors.split(NUM):
        for column in batch.T:
            _, place, counts = column.unique(return_inverse=True, return_counts=True)
            shares.append((counts[place] > 1).float().mean())
    return float(torch.stack(shares).mean())


def repeats(donors):
    """Steps that pairs of rows share, over all pairs."""
    pairs = itertools.combinations(donors, 2)
    return int(sum((a == b).sum() for a, b in pairs))


class TestLeastRepeated:
    def test_a_row_that_repeats_another_is_left(self):
        donors = torch.tensor([[2, 2, 2], [0, 1, 0], [0, 1, 1]])
        kept = least_repeated(donors, torch.tensor([1, 2]))
        assert sorted(kept.tolist()) in ([0, 1], [0, 2])

    def test_no_row_comes_twice(self):
        donors = torch.randint(0, 5, (200, 10), generator=seeded())
        kept = least_repeated(donors, torch.arange(50))
        assert len(kept.unique()) == len(kept) == 50

    def test_no_single_swap_does_better(self):
        donors = torch.randint(0, 6, (24, 8), generator=seeded(1))
        kept = least_repeated(donors, torch.arange(6))
        least = repeats(donors[kept])
        assert least < repeats(donors[:6])
        others = [row for row in range(24) if row not in kept]
        for place, row in itertools.product(range(6), others):
            swapped = kept.clone()
            swapped[place] = row
            assert repeats(donors[swapped]) >= least

    def test_nothing_changes_where_nothing_is_repeated(self):
        donors = torch.arange(8)[:, None].expand(8, 5)
        assert least_repeated(donors, torch.tensor([3, 1])).tolist() == [3, 1]

    def test_owners_keep_to_their_rows(self):
        donors = torch.randint(0, 4, (60, 8), generator=seeded(2))
        owners = torch.arange(60) % 12
        kept = least_repeated(donors, torch.arange(12), owners)
        assert owners[kept].tolist() == list(range(12))
        assert repeats(donors[kept]) < repeats(donors[:12])


def test_series_share_out_the_donors(reference):
    alone, shared = (walked(reference, 4 * NUM, chains) for chains in (1, 2))
    assert len(alone) == len(shared) == 4 * NUM
    assert reuse(alone.donors) > 0.6
    assert reuse(shared.donors) < 0.4


def test_one_chain_a_series_walks_by_itself(reference):
    start = reference.start(NUM, seeded(3))
    plain = metropolis(reference, flat, start, 30, seeded(4))[0]
    assert torch.equal(walked(reference, NUM, 1).z, plain.z)


def test_a_last_batch_may_be_smaller(reference):
    state = walked(reference, NUM + 7, 3, num_steps=4)
    assert state.donors.shape == (NUM + 7, LENGTH)
    assert reuse(state.donors[:NUM]) < 0.5


@pytest.mark.parametrize("num_steps", [0, 1, 3])
def test_walks_may_be_short(reference, num_steps):
    assert len(walked(reference, 10, 2, num_steps=num_steps)) == 10


def test_a_large_pool_keeps_fewer_states(reference, monkeypatch):
    """Memory: series so long that eight states of each would be too many."""
    held = []
    monkeypatch.setattr(
        balance,
        "least_repeated",
        lambda donors, *rest: held.append(len(donors)) or least_repeated(donors, *rest),
    )
    walked(reference, 10, 2)
    monkeypatch.setattr(balance, "POOL_NUMBERS", 3 * 20 * LENGTH * 2)
    walked(reference, 10, 2)
    assert held == [8 * 20, 3 * 20]


def test_owned_states_are_of_the_own_chains(reference):
    """Chains that cannot move: place after place keeps one of its own two."""
    start = reference.start(2 * NUM, seeded(3))

    def nowhere(z):
        return torch.where((z[:, None] == start.z).all((2, 3)).any(1), 0.0, -1e9)

    state = walked(reference, NUM, 2, nowhere, num_steps=6, owned=True)
    chains = start.z.reshape(NUM, 2, LENGTH, 2)
    assert (state.z[:, None] == chains).all((2, 3)).any(1).all()


def test_balance_keeps_the_law_of_a_draw(reference):
    """Moments of single draws with and without balance agree."""

    def moments(chains):
        z = walked(reference, 30 * NUM, chains, num_steps=40).z
        lagged = (z[:, 1:] * z[:, :-1]).mean(1)
        return torch.cat([z.mean(1), z.square().mean(1), z[:, -1], lagged], 1)

    alone, shared = moments(1), moments(2)
    gap = (alone.mean(0) - shared.mean(0)).abs() / alone.std(0)
    assert gap.max() < 0.12
    assert (shared.std(0) / alone.std(0) - 1).abs().max() < 0.12


def test_balance_holds_a_tilt_towards_some_donors_back(reference):
    """As the module says: all donors are to be used, whatever the tilt prefers."""

    def level(chains):
        state = walked(reference, 4 * NUM, chains, lambda z: 1.5 * z[:, :, 0].mean(1))
        return float(state.z[:, :, 0].mean())

    start = float(reference.start(4 * NUM, seeded(3)).z[..., 0].mean())
    assert start + 0.05 < level(2) < level(1)


def test_the_estimator_passes_its_arguments_on():
    settings = {"num_walkers": 60, "max_rounds": 1, "device": "cpu"}
    values = ar1(30, LENGTH, 2, 0.7, seed=1)
    plain = DualKLEstimator(**settings, balance=1, guard_share=0.0)
    model = plain.fit_model(values)
    assert (model.balance, model.copy_limits[0].ratio) == (1, 0)
    model = DualKLEstimator(**settings).fit_model(values)
    assert model.balance == 2
    assert 0 < model.copy_limits[0].ratio < 1
    drawn = [
        fitted.draw(30, 10, seeded()).donors
        for fitted in (plain.fit_model(values), model)
    ]
    shares = [np.mean([len(c.unique()) for c in donors.T]) / 30 for donors in drawn]
    assert shares[0] < shares[1]
