"""Balanced resampling: the draws of a batch share out the donors among themselves.

Independent draws use some pieces of the training series several times and others not
at all, as a bootstrap does; a set of them then repeats itself, piece for piece, where
fresh series would not. The balanced bootstrap (Davison, Hinkley & Schechtman 1986,
"Efficient bootstrap simulation", Biometrika 73) resamples without replacement over a
batch. Here it is softened: a donor that ``k`` other draws of the batch are with, or are
about to be with, is less likely by ``exp(-balance k)``.

What a tilt asks of a set of draws is held back as far as it would have some donors used
more than others: a balanced batch has the donors of the training series, each about as
often, and differs from it in how they are joined.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Crowd", "Independent"]

ROUNDS = 5


class Independent:
    """Rows that choose donors each by itself.

    Parameters
    ----------
    uniform
        A uniform number for every row, ``(n,)``.
    """

    def __init__(self, uniform: Tensor) -> None:
        self.uniform = uniform

    def add(self, rows: Tensor, donors: Tensor) -> None:
        """Nothing: no row minds what others have."""

    def choose(self, rows: Tensor, log_weights: Tensor) -> Tensor:
        """Donors for ``rows`` ``(m,)`` by ``log_weights`` ``(m, K)``, ``(m,)``."""
        return _inverse_transform(log_weights, self.uniform[rows])


class Crowd:
    """Rows that keep to different donors at one step, batch by batch.

    Parameters
    ----------
    held
        Donors that every row has at this and the next steps, ``(n, L)``; each of them
        counts ``1 / L``.
    num_donors
        Number ``M`` of donors.
    batch_size
        Rows of a batch; batches follow one another.
    balance
        How much less likely a donor is for every other row that is with it, nats.
    generator
        Source of randomness.
    """

    def __init__(
        self,
        held: Tensor,
        num_donors: int,
        batch_size: int,
        balance: float,
        generator: torch.Generator,
    ) -> None:
        self.held, self.balance, self.generator = held, balance, generator
        rows = torch.arange(len(held), device=held.device)
        self.batch = rows // batch_size
        batches = -(-len(held) // batch_size)
        # in steps, whole numbers, so that their sums are exact in any order
        self.counts = torch.zeros(batches, num_donors, device=held.device)
        self._count(rows[:, None].expand_as(held), held, 1)

    def add(self, rows: Tensor, donors: Tensor) -> None:
        """Count ``donors`` ``(m,)`` that ``rows`` ``(m,)`` are about to have."""
        self._count(rows, donors, self.held.shape[1])

    def choose(self, rows: Tensor, log_weights: Tensor) -> Tensor:
        """Donors for ``rows`` ``(m,)`` by ``log_weights`` ``(m, K)``, ``(m,)``.

        Among the first ``K`` donors. Rows choose in ``ROUNDS`` rounds, in random order,
        and each round knows what the rounds before it chose.
        """
        device = rows.device
        donors = torch.empty_like(rows)
        order = torch.randperm(len(rows), generator=self.generator, device=device)
        uniform = torch.rand(len(rows), generator=self.generator, device=device)
        for part in order.split(max(1, -(-len(rows) // ROUNDS))):
            crowd = self._others(rows[part])[:, : log_weights.shape[1]]
            score = torch.log_softmax(log_weights[part] - self.balance * crowd, 1)
            donors[part] = _inverse_transform(score, uniform[part])
            self.add(rows[part], donors[part])
        return donors

    def _others(self, rows: Tensor) -> Tensor:
        """Rows of the batch with each donor beside the row itself, ``(m, M)``."""
        own = self.held[rows]
        counts = self.counts[self.batch[rows]]
        counts = counts.scatter_add(1, own, counts.new_full(own.shape, -1))
        return counts / own.shape[1]

    def _count(self, rows: Tensor, donors: Tensor, steps: int) -> None:
        number = self.counts.new_full((), steps)
        self.counts.index_put_((self.batch[rows], donors), number, accumulate=True)


def _inverse_transform(log_weights: Tensor, uniform: Tensor) -> Tensor:
    """One index a row of ``log_weights`` ``(m, K)`` by inverse transform, ``(m,)``."""
    cumulated = log_weights.exp().cumsum(1)
    at = (uniform * cumulated[:, -1])[:, None]
    index = torch.searchsorted(cumulated, at, right=True)[:, 0]
    return index.clamp(max=log_weights.shape[1] - 1)
