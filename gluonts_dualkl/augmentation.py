"""Real and synthetic series as one GluonTS dataset, mixed by training windows.

GluonTS trains on windows that a sampler cuts at random, and draws them in proportion
to the positions that a series offers: a series of ``T`` steps has ``T - H + 1`` of them
for a prediction length ``H``. A mixture is therefore measured in windows and not in
series: 50 real series of 2000 steps beside 50 synthetic ones of 200 would be a mixture
of nine per cent. Both datasets here are sized, can be read again and again with the
same result, can be pickled, and hold nothing in memory but what they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
import pandas as pd
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.frequencies import same_freq
from gluonts_dualkl.types import DataEntry, Entries

__all__ = ["AugmentedDataset", "SyntheticDataset", "augment"]

_OPTIONAL = (
    FieldName.ITEM_ID,
    FieldName.FEAT_STATIC_CAT,
    FieldName.FEAT_STATIC_REAL,
    FieldName.FEAT_DYNAMIC_CAT,
    FieldName.FEAT_DYNAMIC_REAL,
    FieldName.PAST_FEAT_DYNAMIC_REAL,
)


class _Generates(Protocol):
    """What is asked of a generator; ``DualKLGenerator`` has it."""

    @property
    def length(self) -> int: ...

    def generate(
        self,
        num_series: int,
        seed: int = 0,
        item_id_prefix: str = "synthetic-",
        start: pd.Period | None = None,
    ) -> Iterator[DataEntry]: ...


@dataclass(frozen=True)
class SyntheticDataset:
    """A generator's series as a GluonTS dataset, drawn anew on every pass.

    Every pass gives the same series, block by block, so that memory does not grow with
    their number; and the first series do not depend on how many there are. GluonTS
    passes over its training data again and again: where the series fit in memory,
    train on ``list(dataset)``, which draws them once.

    Parameters
    ----------
    generator
        A trained :class:`~gluonts_dualkl.DualKLGenerator`.
    num_series
        Number of series, ``>= 0``.
    seed
        Seed of the draw, ``>= 0``.
    item_id_prefix
        Series ``k`` is called ``<prefix><k>``.
    start
        Start period of all series, by default those of the training windows.

    Raises
    ------
    ValueError
        If the generator refuses the arguments.
    """

    generator: _Generates
    num_series: int
    seed: int = 0
    item_id_prefix: str = "synthetic-"
    start: pd.Period | None = None

    def __post_init__(self) -> None:
        iter(self)  # the generator checks its arguments before it draws

    def __len__(self) -> int:
        """Return the number of series."""
        return self.num_series

    def __iter__(self) -> Iterator[DataEntry]:
        """Draw the series from the first on."""
        return self.generator.generate(
            self.num_series, self.seed, self.item_id_prefix, self.start
        )

    @property
    def length(self) -> int:
        """Time steps of every series."""
        return self.generator.length


@dataclass
class _Profile:
    """What the real entries have in common, and the codes and names among them."""

    freq: str
    sizes: dict[str, tuple[int, ...]]
    codes: dict[str, np.ndarray]
    names: set[str] = field(default_factory=set)
    windows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class AugmentedDataset:
    """Real entries as they are, synthetic ones among them. Made by :func:`augment`.

    Attributes
    ----------
    real, synthetic
        The datasets that are read on every pass.
    pattern
        Whether entry ``k`` is synthetic, ``(n,)``.
    real_windows, synthetic_windows
        Training windows that either side offers.
    """

    real: Iterable[DataEntry]
    synthetic: Iterable[DataEntry]
    pattern: np.ndarray
    real_windows: int
    synthetic_windows: int
    _profile: _Profile = field(repr=False)

    def __len__(self) -> int:
        """Return the number of series, real and synthetic."""
        return len(self.pattern)

    def __iter__(self) -> Iterator[DataEntry]:
        """Read both datasets from the first entry on, in the order of ``pattern``."""
        taken = set(self._profile.names)
        real = iter(self.real)
        synthetic = islice(self.synthetic, int(self.pattern.sum()))
        for is_synthetic in self.pattern:
            if is_synthetic:
                yield _fitted(next(synthetic), self._profile, taken)
            else:
                yield next(real)

    @property
    def ratio(self) -> float:
        """Synthetic windows per real window, after rounding to whole series."""
        return self.synthetic_windows / self.real_windows


def augment(
    real: Entries,
    synthetic: Entries,
    ratio: float = 1.0,
    seed: int = 0,
    prediction_length: int = 1,
) -> AugmentedDataset:
    """Mix ``ratio`` synthetic training windows to every real one.

    A series of ``T`` steps offers ``max(T - prediction_length + 1, 0)`` windows, which
    is what the samplers of GluonTS's estimators draw in proportion to. The first ``k``
    synthetic series are taken, with ``k`` such that their windows come nearest to
    ``ratio`` times those of all real series. The seed places them among the real
    series, because GluonTS does not shuffle and would otherwise fill whole batches with
    one kind. ``ratio=0`` gives the real series alone.

    Real entries pass unchanged. Synthetic ones keep the optional fields that the real
    ones have, and no other, because GluonTS takes the fields of a batch from its first
    entry; a name that is taken gets ``synthetic-`` before it. The real series are read
    once here, the synthetic only when they are needed, and their lengths where they are
    no :class:`SyntheticDataset`.

    Parameters
    ----------
    real, synthetic
        GluonTS datasets that can be read more than once, of one frequency.
    ratio
        Synthetic windows per real window, ``>= 0``: 1 is half and half.
    seed
        Seed of the order, ``>= 0``.
    prediction_length
        That of the estimator to be trained; it matters only where lengths differ.

    Returns
    -------
    AugmentedDataset
        Sized, read again and again with the same result.

    Raises
    ------
    ValueError
        For arguments out of range, a dataset that can be read only once or is empty,
        too few synthetic windows, and synthetic entries that differ from the real ones
        in frequency, channels, features or codes: the last while they are read, except
        for the first of them.
    """
    _check_numbers(ratio, seed, prediction_length)
    for name, dataset in (("real", real), ("synthetic", synthetic)):
        if isinstance(dataset, Iterator) or not isinstance(dataset, Iterable):
            raise ValueError(
                f"{name} is a {type(dataset).__name__} and training reads a dataset "
                "many times; give a list or another dataset that can be read again."
            )
    profile = _survey(real, prediction_length)
    total = sum(profile.windows)
    if not total:
        raise ValueError(
            f"no real series has the {prediction_length} steps of prediction_length; "
            "give longer series or a smaller prediction_length."
        )
    count, windows = _count(synthetic, ratio * total, prediction_length, ratio)
    if count:
        _fitted(next(iter(synthetic)), profile, set())
    pattern = np.arange(len(profile.windows) + count) >= len(profile.windows)
    np.random.default_rng(seed).shuffle(pattern)
    return AugmentedDataset(real, synthetic, pattern, total, windows, profile)


def _check_numbers(ratio: float, seed: int, prediction_length: int) -> None:
    if not 0 <= ratio < np.inf:
        raise ValueError(
            f"ratio is {ratio}; give the synthetic windows per real one, 0 or more."
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}; give a seed of 0 or more.")
    if prediction_length < 1:
        raise ValueError(
            f"prediction_length is {prediction_length}; give that of the estimator, "
            "1 or more."
        )


def _survey(real: Entries, prediction_length: int) -> _Profile:
    """Read the real entries once."""
    profile = None
    for index, entry in enumerate(real):
        what = f"real entry {index}"
        sizes = _sizes(entry, what)
        if profile is None:
            profile = _Profile(entry[FieldName.START].freqstr, sizes, {})
        _check_alike(entry, sizes, profile, what)
        if extra := sorted(set(sizes) - set(profile.sizes)):
            raise ValueError(
                f"{what} has {extra[0]!r}, which the first real entry has not; give "
                "all entries the same fields."
            )
        for name in sizes:
            if name.endswith("_cat"):
                codes = _codes(entry[name])
                known = profile.codes.get(name, codes)
                profile.codes[name] = np.maximum(known, codes)
        if FieldName.ITEM_ID in sizes:
            profile.names.add(str(entry[FieldName.ITEM_ID]))
        profile.windows.append(_windows(entry, prediction_length))
    if profile is None:
        raise ValueError("real is empty; give at least one real series.")
    return profile


def _codes(values: Any) -> np.ndarray:
    """Largest code of each categorical feature, ``(K,)``, static or dynamic."""
    array = np.asarray(values)
    return array.max(axis=1, initial=0) if array.ndim == 2 else np.atleast_1d(array)


def _sizes(entry: DataEntry, what: str) -> dict[str, tuple[int, ...]]:
    """Fields of an entry and their sizes without time."""
    for name in (FieldName.TARGET, FieldName.START):
        if not isinstance(entry, dict) or entry.get(name) is None:
            raise ValueError(f"{what} has no {name!r}; give GluonTS entries.")
    if not isinstance(entry[FieldName.START], pd.Period):
        kind = type(entry[FieldName.START]).__name__
        raise ValueError(
            f"the start of {what} is a {kind}, and GluonTS trains on pandas Periods; "
            "convert it with pandas.Period(start, freq)."
        )
    sizes = {FieldName.TARGET: np.shape(entry[FieldName.TARGET])[:-1]}
    for name in _OPTIONAL:
        if entry.get(name) is not None:
            shape = np.shape(entry[name])
            sizes[name] = shape[:1] if name != FieldName.ITEM_ID else ()
    return sizes


def _check_alike(
    entry: DataEntry, sizes: dict[str, tuple[int, ...]], profile: _Profile, what: str
) -> None:
    freq = entry[FieldName.START].freqstr
    if not same_freq(freq, profile.freq):
        raise ValueError(
            f"{what} has freq {freq!r} and the real series {profile.freq!r}; a dataset "
            "to train on has one frequency."
        )
    for name, size in profile.sizes.items():
        if name not in sizes:
            raise ValueError(
                f"{what} has no {name!r}, which the first real entry has; give all "
                "entries the same fields."
            )
        if sizes[name] != size:
            raise ValueError(
                f"{name!r} of {what} has size {sizes[name]} without time and that of "
                f"the first real entry {size}; give all entries the same channels and "
                "features."
            )


def _windows(entry: DataEntry, prediction_length: int) -> int:
    length = int(np.shape(entry[FieldName.TARGET])[-1])
    return max(length - prediction_length + 1, 0)


def _count(
    synthetic: Entries, wanted: float, prediction_length: int, ratio: float
) -> tuple[int, int]:
    """Synthetic series to take, and the windows that they offer."""
    if wanted == 0:
        return 0, 0
    if isinstance(synthetic, SyntheticDataset):
        one = max(synthetic.length - prediction_length + 1, 0)
        offers = np.full(len(synthetic), one)
    else:
        offers = np.array([_windows(e, prediction_length) for e in synthetic], int)
    reached = np.concatenate([[0], np.cumsum(offers)])
    last = offers[-1] if len(offers) else 0
    if reached[-1] + last / 2 < wanted:
        raise ValueError(
            f"ratio={ratio} asks for {wanted:.0f} synthetic windows and the "
            f"{len(offers)} synthetic series offer {reached[-1]}; draw more series or "
            f"choose a ratio up to {ratio * reached[-1] / wanted:.2g}."
        )
    count = int(np.abs(reached - wanted).argmin())
    return count, int(reached[count])


def _fitted(entry: DataEntry, profile: _Profile, taken: set[str]) -> DataEntry:
    """A synthetic entry with the fields of the real ones and a name of its own."""
    named = isinstance(entry, dict) and FieldName.ITEM_ID in entry
    what = f"synthetic entry {entry[FieldName.ITEM_ID] if named else 0!r}"
    sizes = _sizes(entry, what)
    _check_alike(entry, sizes, profile, what)
    for name, known in profile.codes.items():
        if (_codes(entry[name]) > known).any():
            raise ValueError(
                f"{name!r} of {what} holds a code above the largest real one, "
                f"{known.tolist()}; an estimator has no embedding for it."
            )
    kept = {
        FieldName.START: entry[FieldName.START],
        **{name: entry[name] for name in profile.sizes},
    }
    if FieldName.ITEM_ID in kept:
        name = str(kept[FieldName.ITEM_ID])
        while name in taken:
            name = f"synthetic-{name}"
        taken.add(name)
        kept[FieldName.ITEM_ID] = name
    return kept
