"""Paths of laws that are partitions of the pixels: single step, line and tree.

A law ``P_k`` of the path is a partition of the ``T x C`` pixels into groups; the values
of each group come from one series, chosen for each group independently. The finest
partition is ``Q``, the product of the pixel marginals, the coarsest is the data, and
each is coarser than the one before it, so that

    log p/q = sum_k f_k,    f_k = log p_{k+1}/p_k,    KL(P || Q) = sum_k E_P[f_k]

and every ``P_k`` can be drawn exactly, by recombining groups. Since ``f_k`` is a sum of
terms that each know one group of ``P_{k+1}``, its mean under ``P`` is that under
``P_{k+1}``: the divergence of the leg, the mutual information of what it joins.

For a Gaussian the legs are known in closed form: ``P_k`` has the covariance with the
entries between different groups set to zero, ``S_k``, and

    E_P[f_k] = 1/2 (log det S_k - log det S_{k+1}).

Paths over blocks are our reading of the path-based estimation of arXiv 2404.07377.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = [
    "GaussianOffsets",
    "PartitionPath",
    "gaussian_nats",
    "gaussian_offsets",
    "line_path",
    "single_step",
    "tree_path",
]

MAX_LEGS = 6


@dataclass(frozen=True)
class PartitionPath:
    """Laws from independent pixels to the data, each coarser than the one before.

    Attributes
    ----------
    labels
        Group of every pixel under every law, ``(K + 1, T, C)``, integers; all distinct
        in the first law and all equal in the last. They are renumbered from 0.
    names
        What each leg couples, in words, ``K`` of them.

    Raises
    ------
    ValueError
        For labels of another shape or type, a first or last law that is not ``Q`` or
        the data, a law that is not coarser than or equal to the one before it, and
        another number of names.
    """

    labels: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the labels and renumber them."""
        labels = self.labels
        if labels.ndim != 3 or labels.dtype != torch.long or len(labels) < 2:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)} and type {labels.dtype}; give "
                "a long tensor (K + 1, T, C) with K of at least 1"
            )
        if len(self.names) != len(labels) - 1:
            raise ValueError(
                f"names has {len(self.names)} entries for {len(labels) - 1} legs; give "
                "one a leg"
            )
        compact = torch.stack([law.unique(return_inverse=True)[1] for law in labels])
        counts = _counts(compact)
        if counts[0] != labels[0].numel() or counts[-1] != 1:
            raise ValueError(
                f"labels has {counts[0]} groups in the first law and {counts[-1]} in "
                f"the last; give {labels[0].numel()} (every pixel its own) and 1 (all "
                "pixels together)"
            )
        for k in range(self.num_legs):
            pairs = compact[k] * compact[0].numel() + compact[k + 1]
            if len(pairs.unique()) != counts[k]:
                raise ValueError(
                    f"labels of law {k + 1} split a group of law {k}; make every law "
                    "coarser than or equal to the one before it"
                )
        object.__setattr__(self, "labels", compact)
        object.__setattr__(self, "names", tuple(self.names))

    @property
    def num_legs(self) -> int:
        """Number of legs ``K``."""
        return len(self.labels) - 1

    @property
    def num_groups(self) -> tuple[int, ...]:
        """Number of groups of every law, ``K + 1`` of them."""
        return tuple(_counts(self.labels))

    def draw(
        self, z: Tensor, law: int, num_samples: int, generator: torch.Generator
    ) -> Tensor:
        """Draws of law ``law`` from series ``z`` ``(N, T, C)``, ``(n, T, C)``.

        Every group takes its values from rows of ``z`` chosen for it alone: without
        replacement where ``n <= N``, so that ``n = N`` keeps the marginals exactly, and
        with replacement otherwise. Law 0 is ``Q``; law ``K`` the data in random order.

        Raises
        ------
        ValueError
            For series of another shape, a law that the path does not have, and a
            number of samples below 1.
        """
        shape = tuple(self.labels.shape[1:])
        if z.ndim != 3 or len(z) == 0 or tuple(z.shape[1:]) != shape:
            raise ValueError(
                f"z has shape {tuple(z.shape)}; give (N, {shape[0]}, {shape[1]}), N > "
                "0, as the path has it"
            )
        if not 0 <= law <= self.num_legs:
            raise ValueError(f"law is {law}; give one of 0 to {self.num_legs}")
        if num_samples < 1:
            raise ValueError(f"num_samples is {num_samples}; give at least 1")
        labels = self.labels[law].to(z.device)
        groups, device = int(labels.max()) + 1, z.device
        if num_samples <= len(z):
            order = torch.rand(len(z), groups, generator=generator, device=device)
            donors = order.argsort(0)[:num_samples]
        else:
            donors = torch.randint(
                len(z), (num_samples, groups), generator=generator, device=device
            )
        return z.gather(0, donors[:, labels])


def single_step(length: int, channels: int) -> PartitionPath:
    """The path of one leg, from independent pixels to the data at once."""
    pixels = _pixels(length, channels)
    return PartitionPath(
        torch.stack([pixels, torch.zeros_like(pixels)]), ("everything at once",)
    )


def line_path(
    length: int, channels: int, num_blocks: int = 4, along: str = "time"
) -> PartitionPath:
    """Pixels, then independent blocks, then the blocks joined one by one.

    Parameters
    ----------
    length, channels
        ``T`` and ``C``.
    num_blocks
        Blocks, of lengths that differ by at most one; as many legs.
    along
        ``"time"`` for segments of time steps, ``"channels"`` for groups of channels.

    Raises
    ------
    ValueError
        For another ``along``, and fewer than one block or more than there are steps or
        channels.
    """
    pixels = _pixels(length, channels)
    sizes = {"time": length, "channels": channels}
    if along not in sizes:
        raise ValueError(f"along is {along!r}; give 'time' or 'channels'")
    size = sizes[along]
    if not 1 <= num_blocks <= size:
        raise ValueError(
            f"num_blocks is {num_blocks}; give 1 to {size}, the size along {along}"
        )
    block = torch.arange(size) * num_blocks // size
    block = block[:, None] if along == "time" else block[None, :]
    block = block.expand(length, channels)
    word = "step" if along == "time" else "channel"
    laws, names = [pixels], []
    for k in range(num_blocks):
        joined = (block - k).clamp(min=0)
        laws.append(joined)
        first, last = (int(x) for x in _ends(block, k, along))
        place = f"{word} {first}" if first == last else f"{word}s {first} to {last}"
        names.append("within blocks" if k == 0 else f"joining {place}")
    return _without_empty_legs(laws, names)


def tree_path(length: int, channels: int, max_legs: int = MAX_LEGS) -> PartitionPath:
    """Pixels, then the channels of a step, then segments of 2, 4, 8, ... steps.

    The last segment of a level is shorter where ``T`` is no power of two. Where there
    would be more than ``max_legs`` legs, levels are left out, evenly in the logarithm
    of the scale, and the leg across them says the scale that it ends with.

    Raises
    ------
    ValueError
        For fewer than two pixels and ``max_legs`` below 1.
    """
    pixels = _pixels(length, channels)
    if max_legs < 1:
        raise ValueError(f"max_legs is {max_legs}; give at least 1")
    step = torch.arange(length)[:, None].expand(length, channels)
    scales = [2**k for k in range((length - 1).bit_length())] + [length]
    laws = [pixels, *(step // scale for scale in scales)]
    names = ["within a step", *(f"up to {scale} steps" for scale in scales[1:])]
    path = _without_empty_legs(laws, names)
    if path.num_legs <= max_legs:
        return path
    kept = torch.linspace(0, path.num_legs, max_legs + 1).round().long()
    names = [path.names[k - 1] for k in kept[1:].tolist()]
    return PartitionPath(path.labels[kept], tuple(names))


@dataclass(frozen=True)
class GaussianOffsets:
    """The dual functions of all legs of a path under a Gaussian law.

    ``f_k(z) = log N(z; 0, S_{k+1}) - log N(z; 0, S_k)``, so that the mean of
    ``exp f_k`` under ``N(0, S_k)`` is 1.

    Attributes
    ----------
    whiteners
        Inverse lower Cholesky factors of the ``S_k``, ``(K + 1, D, D)``, float64.
    log_dets
        ``log det S_k``, ``(K + 1,)``, float64.
    """

    whiteners: Tensor
    log_dets: Tensor

    @property
    def nats(self) -> Tensor:
        """Divergence of every leg, ``(K,)``, nats."""
        return -0.5 * self.log_dets.diff()

    def __call__(self, z: Tensor) -> Tensor:
        """``f_k(z)`` of series ``(n, T, C)``, ``(n, K)``, in the type of ``z``, nats.

        Differentiable in ``z``.
        """
        size = self.whiteners.shape[1]
        if z.ndim != 3 or z.shape[1] * z.shape[2] != size:
            raise ValueError(
                f"z has shape {tuple(z.shape)}; give (n, T, C) with T C = {size}"
            )
        flat = z.double().flatten(1)
        squares = [(flat @ w.T).square().sum(1) for w in self.whiteners]
        return (self.nats - 0.5 * torch.stack(squares, 1).diff(dim=1)).to(z.dtype)


def gaussian_offsets(path: PartitionPath, correlation: Tensor) -> GaussianOffsets:
    """Closed-form dual functions of every leg if the law is ``N(0, correlation)``.

    Parameters
    ----------
    path
        The path.
    correlation
        Covariance of the pixels in the order of ``z[0].ravel()``, ``(T C, T C)``. With
        a diagonal other than 1 the path starts at the product of its own marginals.

    Raises
    ------
    ValueError
        For a matrix of another size, or one that is not symmetric and positive
        definite.
    """
    factors = _factors(path, correlation)
    identity = torch.eye(factors.shape[1], dtype=torch.float64, device=factors.device)
    whiteners = [
        torch.linalg.solve_triangular(factor, identity, upper=False)
        for factor in factors
    ]
    return GaussianOffsets(torch.stack(whiteners), _log_dets(factors))


def gaussian_nats(path: PartitionPath, correlation: Tensor) -> Tensor:
    """Divergence of every leg of ``N(0, correlation)``, ``(K,)``, nats, float64.

    They sum to the total correlation ``-1/2 log det R``. Raises as
    :func:`gaussian_offsets`.
    """
    return -0.5 * _log_dets(_factors(path, correlation)).diff()


def _pixels(length: int, channels: int) -> Tensor:
    """Every pixel in a group of its own, ``(T, C)``."""
    if length < 1 or channels < 1 or length * channels < 2:
        raise ValueError(
            f"length is {length} and channels {channels}; give a window of at least "
            "two pixels"
        )
    return torch.arange(length * channels).view(length, channels)


def _counts(labels: Tensor) -> list[int]:
    """Number of groups of every law with labels from 0."""
    return (labels.flatten(1).max(1).values + 1).tolist()


def _ends(block: Tensor, k: int, along: str) -> tuple[Tensor, Tensor]:
    """First and last place, from 1, of block ``k`` along its axis."""
    place = torch.nonzero(block == k)[:, 0 if along == "time" else 1] + 1
    return place.min(), place.max()


def _without_empty_legs(laws: Sequence[Tensor], names: Sequence[str]) -> PartitionPath:
    """The path of nested laws less the legs that join nothing."""
    sizes = [len(law.unique()) for law in laws]
    kept = [k for k in range(1, len(laws)) if sizes[k] < sizes[k - 1]]
    labels = torch.stack([laws[0], *(laws[k] for k in kept)])
    return PartitionPath(labels, tuple(names[k - 1] for k in kept))


def _factors(path: PartitionPath, correlation: Tensor) -> Tensor:
    """Cholesky factors of the masked matrices, ``(K + 1, D, D)``."""
    labels = path.labels.flatten(1).to(correlation.device)
    size = labels.shape[1]
    if correlation.shape != (size, size):
        raise ValueError(
            f"correlation has shape {tuple(correlation.shape)}; give ({size}, {size}), "
            "the pixels in the order of z[0].ravel()"
        )
    matrix = correlation.double()
    scale = matrix.diagonal().abs().max()
    if not bool((matrix - matrix.T).abs().max() <= 1e-5 * scale):
        raise ValueError("correlation is not symmetric; give (R + R') / 2")
    matrix = 0.5 * (matrix + matrix.T)
    masks = labels[:, :, None] == labels[:, None, :]
    factors, failed = torch.linalg.cholesky_ex(torch.where(masks, matrix, 0.0))
    if bool(failed.any()):
        raise ValueError(
            "correlation is not positive definite; shrink it, for example by adding "
            "1e-3 to its diagonal"
        )
    return factors


def _log_dets(factors: Tensor) -> Tensor:
    return 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
