"""Balanced resampling: the draws of a batch share out the donors among themselves.

Independent draws use some pieces of the training series several times and others not
at all, as a bootstrap does; a set of them then repeats itself, piece for piece, where
fresh series would not. The balanced bootstrap (Davison, Hinkley & Schechtman 1986,
"Efficient bootstrap simulation", Biometrika 73) resamples without replacement over a
batch. Here more series are drawn than are wanted, each by itself and exactly from its
law, and those are kept that repeat each other least.

What a tilt asks of a set of draws is held back as far as it would have some donors used
more than others: a balanced batch has the donors of the training series, each about as
often, and differs from it in how they are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gluonts_dualkl.laws.references import Reference
from gluonts_dualkl.walks.samplers import metropolis

__all__ = ["balanced_walk", "least_repeated"]

STATES = 8
POOL_NUMBERS = 100_000_000
SWEEPS = 20


def balanced_walk(
    reference: Reference,
    log_tilt: Callable[[Tensor], Tensor],
    state: Any,
    num_steps: int,
    generator: torch.Generator,
    chains: int,
    batch_size: int,
    guard: Callable[[Tensor], Tensor] | None = None,
    owned: bool = False,
) -> Any:
    """Walk several chains a series and keep states that share fewest donors.

    Each chain is a :func:`~gluonts_dualkl.walks.samplers.metropolis` walk by itself.
    The pool of a batch is what its chains visit in the second half of their walk, at
    ``STATES`` moves, fewer where series are so long that a pool had more than
    ``POOL_NUMBERS`` numbers.

    Parameters
    ----------
    reference, log_tilt, num_steps, generator, guard
        As for a walk.
    state
        Where chains begin, those of a series one after the other, ``(n chains,)`` rows
        with ``donors`` ``(n chains, T)``.
    chains
        Chains a series; with 1 there is no choice, and series are independent.
    batch_size
        Number of series that share the donors out; batches follow one another.
    owned
        Whether a series must be a state of one of its own chains, which have something
        in common that others lack, or may be one of any chain of its batch.

    Returns
    -------
    A state of ``n`` rows.
    """
    walk = partial(metropolis, reference, log_tilt, generator=generator, guard=guard)
    if chains == 1:
        return walk(state, num_steps)[0]
    states = list(_visited(walk, state, num_steps))
    kept = []
    for first in range(0, len(state), chains * batch_size):
        parts = [s[first : first + chains * batch_size] for s in states]
        rows = torch.arange(len(parts[-1]), device=state.z.device)
        ends = rows[::chains] + (len(parts) - 1) * len(rows)
        owners = (rows // chains).repeat(len(parts)) if owned else None
        pool = type(state).cat(parts)
        kept.append(pool[least_repeated(pool.donors, ends, owners)])
    return type(state).cat(kept)


def _visited(walk: Callable[..., Any], state: Any, num_steps: int) -> Iterator[Any]:
    """States at evenly spaced moves of the second half of a walk, with its end."""
    number = max(1, min(STATES, POOL_NUMBERS // max(1, state.z.numel())))
    done, late, level = 0, -(-num_steps // 2), None
    for stop in sorted({num_steps - late * k // number for k in range(number)}):
        state, level, _ = walk(state, stop - done, level=level)
        done = stop
        yield state


def least_repeated(
    donors: Tensor, kept: Tensor, owners: Tensor | None = None
) -> Tensor:
    """Rows of a pool whose donors coincide at fewest steps, pair by pair.

    A local minimum over sets ``S`` of ``n`` rows of

        sum_{i < j in S} #{t: donor_it = donor_jt}

    by swaps: place after place takes the row of the pool that is best beside the
    others, until none is better than its own. A sweep costs ``O(n P T)``.

    Parameters
    ----------
    donors
        Donor of every step of the ``P`` rows of the pool, ``(P, T)``.
    kept
        The rows that the search begins with, ``(n,)``, no one twice.
    owners
        Place below ``n`` that each row may take, ``(P,)``; any by default.

    Returns
    -------
    Rows of the pool by place, ``(n,)``, no one twice.
    """
    pool, length = donors.shape
    donors = donors.to(torch.int32)
    kept = kept.clone()
    taken = torch.zeros(pool, dtype=torch.bool, device=donors.device)
    taken[kept] = True

    def shared(row: Tensor) -> Tensor:
        """Steps at which each row has the donor of ``row``; none for itself."""
        steps = (donors == donors[row]).sum(1)
        steps[row] = 0
        return steps

    load = torch.zeros(pool, dtype=torch.long, device=donors.device)
    for row in kept:
        load += shared(row)
    never = length * len(kept) + 1
    for _ in range(SWEEPS):
        swaps = 0
        for place, row in enumerate(kept.clone()):
            own = shared(row)
            cost = (load - own).masked_fill(taken, never)
            if owners is not None:
                cost = cost.masked_fill(owners != place, never)
            best = cost.argmin()
            if cost[best] < load[row]:
                load += shared(best) - own
                taken[row], taken[best] = False, True
                kept[place] = best
                swaps += 1
        if not swaps:
            break
    return kept
