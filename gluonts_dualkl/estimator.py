"""The estimator: a GluonTS dataset in, a trained generator out."""

import inspect
import logging
from collections.abc import Collection
from functools import partial
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.model import Estimator

from gluonts_dualkl.analysis.divergence import (
    fold_labels,
    fold_training,
    held_out_ratios,
    optimism,
    warn_above_ceiling,
)
from gluonts_dualkl.data.frequencies import step_number
from gluonts_dualkl.data.preparation import Preparation, join_dynamic
from gluonts_dualkl.data.scaling import SCALINGS
from gluonts_dualkl.data.windows import (
    SHORT,
    Windows,
    cut_windows,
    item_of,
    with_values,
)
from gluonts_dualkl.devices import STRATEGIES, resolve_device, seeded_generator, spread
from gluonts_dualkl.generator import DualKLGenerator
from gluonts_dualkl.laws.marginals import KINDS
from gluonts_dualkl.models.base import NUM_STEPS, PathModel
from gluonts_dualkl.models.completion import complete_training
from gluonts_dualkl.models.noise import NoiseModel
from gluonts_dualkl.models.partition import PARTITIONS, CriticModel
from gluonts_dualkl.models.recombination import DualModel
from gluonts_dualkl.threads import single_threaded
from gluonts_dualkl.types import Entries

__all__ = ["DualKLEstimator"]

logger = logging.getLogger(__name__)

MIN_SERIES = 20
MIN_LENGTH = 4
OWN = ("values", "generator", "path", "marginals")
MODELS: dict[str, Any] = {
    "recombination": DualModel,
    **dict.fromkeys(PARTITIONS, CriticModel),
    "noise": NoiseModel,
}


class DualKLEstimator(Estimator):
    """Learn the law of multivariate series by dual KL critics along a path.

    Parameters
    ----------
    freq
        Frequency that all series must have; that of the data by default.
    length
        Time steps ``T`` of a sample; by default the length all series share. Longer
        series are cut into windows.
    stride
        Steps between windows of one series, ``length`` by default.
    short_series
        What happens to series with fewer steps than ``length``: ``"skip"`` leaves them
        out, ``"pad"`` keeps those with at least half of the steps and takes the others
        as missing.
    max_windows
        Most windows to learn from, a uniform sample of them where there are more.
    scaling
        ``"none"``; ``"mean"`` where the levels of series differ by orders of magnitude;
        ``"returns"`` for prices, which come back as positive paths; see
        :mod:`~gluonts_dualkl.data.scaling`.
    dynamic_features
        ``"carry"`` gives a generated series the dynamic features of the training window
        that gave most of its steps; ``"model"`` models ``feat_dynamic_real`` jointly
        with the targets.
    path
        Path of laws from independent pixels to the data: ``"recombination"``, over a
        Gaussian and recombined series, the default because it generates best;
        ``"single"``, ``"line"`` and ``"tree"``, over partitions of the pixels with a
        convolutional critic; ``"noise"``, over growing noise with a scalar potential.
    path_settings
        Further arguments of a path other than the default: those of
        :meth:`~gluonts_dualkl.models.partition.CriticModel.fit` and
        :meth:`~gluonts_dualkl.models.noise.NoiseModel.fit`, such as ``objective``,
        ``orientation``, ``sampler`` and ``local_neighbours``.
    marginals
        Marginal maps: ``"auto"`` chooses by channel, ``"rank"`` and ``"power"`` are the
        same for all; see :class:`~gluonts_dualkl.laws.marginals.MarginalMap`.
    mean_block
        Mean number of steps that a synthetic series follows one donor before it may
        pass to another; by default an eighth of ``length``, at least 6. Shorter is more
        novel, longer more faithful.
    season
        Steps after which the law of a window repeats itself: training windows shifted
        by multiples of it are donors too, which makes series less alike those of
        training. Found from the data by default (1 for a record that is stationary, 24
        for whole days of hours); ``length`` or more for no shifts.
    guard_share
        A synthetic series must not be nearer to one training series than to the next
        by more than this share of the training series are among themselves, see
        :class:`~gluonts_dualkl.walks.copies.CopyGuard`: more is more novel, 0 leaves
        the guard against copies alone. By default 0.3, and 0.45 where ``locality`` is
        below 1.
    locality
        Share of the training windows, nearest to that of its first donor, that a
        synthetic series may follow, at least 20: less where windows are of several
        kinds that are not to be mixed. Found from the data by default; 1 for all.
    balance
        Walkers for every series that is drawn. Of the states that those of a batch
        visit the ones are drawn that share fewest pieces of training series, so that a
        synthetic set does not repeat itself, see :mod:`gluonts_dualkl.walks.balance`; 1
        draws every series by itself.
    max_rounds
        Most boosting rounds of a leg of the path.
    step_size
        Share of each learned dual function that is laid on, in (0, 1].
    num_walkers
        Walkers that stand for the present law during training.
    num_steps
        Moves of the walk behind every generated series.
    num_folds
        Folds of the cross-fitted divergence and levels.
    channel_names
        Names of the channels, for pictures and files.
    seed
        Seed of training.
    device
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.
    devices
        Processes that share the ``num_folds + 1`` fits, each with its own GPU under
        CUDA; ``"auto"`` takes all GPUs. Results are the same, to the last bit.
    strategy
        How they are started, see :mod:`gluonts_dualkl.devices`; with GPUs a script
        trains under ``if __name__ == "__main__":``.
    """

    @validated()
    def __init__(
        self,
        freq: str | None = None,
        length: int | None = None,
        stride: int | None = None,
        short_series: str = "skip",
        max_windows: int = 2000,
        scaling: str = "none",
        dynamic_features: str = "carry",
        path: str = "recombination",
        path_settings: dict | None = None,
        marginals: str = "auto",
        mean_block: float | None = None,
        season: int | None = None,
        guard_share: float | None = None,
        locality: float | None = None,
        balance: int = 2,
        max_rounds: int = 16,
        step_size: float = 0.7,
        num_walkers: int = 600,
        num_steps: int = NUM_STEPS,
        num_folds: int = 5,
        channel_names: list | None = None,
        seed: int = 0,
        device: str = "auto",
        devices: int | str = 1,
        strategy: str = "auto",
    ) -> None:
        super().__init__()
        _check_choice("short_series", short_series, SHORT)
        _check_choice("scaling", scaling, SCALINGS)
        _check_choice("dynamic_features", dynamic_features, ("carry", "model"))
        _check_choice("marginals", marginals, KINDS)
        _check_choice("strategy", strategy, ("auto", *STRATEGIES))
        _check_range("max_windows", max_windows, MIN_SERIES, None)
        _check_range("mean_block", mean_block, 1.5, None)
        _check_range("season", season, 1, None)
        _check_range("max_rounds", max_rounds, 1, None)
        _check_range("step_size", step_size, 0.01, 1)
        _check_range("num_walkers", num_walkers, 50, None)
        _check_range("num_steps", num_steps, 1, None)
        _check_range("guard_share", guard_share, 0, 0.9)
        _check_range("locality", locality, 0.001, 1)
        _check_range("balance", balance, 1, 100)
        _check_range("num_folds", num_folds, 2, 20)
        _check_range("seed", seed, 0, None)
        self.freq, self.length, self.stride = freq, length, stride
        self.short_series, self.max_windows = short_series, max_windows
        self.scaling, self.dynamic_features = scaling, dynamic_features
        self.path, self.path_settings = path, dict(path_settings or {})
        self.marginals = marginals
        _check_path(path, self.path_settings)
        self.mean_block, self.season, self.max_rounds = mean_block, season, max_rounds
        self.guard_share, self.locality, self.balance = guard_share, locality, balance
        self.step_size, self.num_walkers = step_size, num_walkers
        self.num_steps, self.num_folds = num_steps, num_folds
        self.channel_names, self.seed, self.device = channel_names, seed, device
        self.devices, self.strategy = devices, strategy

    def train(
        self, training_data: Entries, validation_data: Entries | None = None
    ) -> DualKLGenerator:
        """Fit to a GluonTS dataset.

        Parameters
        ----------
        training_data
            Any GluonTS dataset, read once; at least 20 windows. NaN is missing and is
            drawn given what is observed.
        validation_data
            Series kept from training: the divergence is then reported on them instead
            of being cross-fitted.

        Raises
        ------
        ValueError
            For data that cannot be used; the message says which and how to mend them.
        """
        windows, preparation, values, joined = self._read(training_data)
        items = [item_of(name) for name in windows.item_ids]
        folds = fold_labels(items, self.num_folds, self.seed)
        starts = [step_number(start) for start in windows.starts]
        train = fold_training(folds, self.num_folds, items, starts, windows.length)
        *crossed, model = spread(
            partial(_fit_fold, self, values, folds, train),
            self.num_folds + 1,
            self.device,
            self.devices,
            self.strategy,
        )
        held_out: dict[str, np.ndarray] = {}
        excess = np.zeros(len(values))
        for fold, (found, beyond) in enumerate(crossed):
            excess[folds == fold] = beyond
            for name, score in found.items():
                held_out.setdefault(name, np.zeros(len(values)))[folds == fold] = score
        generator = DualKLGenerator(
            model,
            windows,
            preparation,
            held_out,
            float(excess.mean()),
            channel_names=self.channel_names,
            num_steps=self.num_steps,
            num_covariates=joined,
        )
        warn_above_ceiling(generator.divergence())
        if validation_data is not None:
            generator.validation = held_out_ratios(
                model, generator.read_values(validation_data)
            )
            generator.optimism = optimism(model, generator.validation)
        return generator

    def fit_model(
        self,
        values: np.ndarray,
        fold: int = 0,
        device: torch.device | None = None,
    ) -> PathModel:
        """One fitted path, without cross-fitting.

        Parameters
        ----------
        values
            Windows ``(N, T, C)``, finite, no channel constant.
        fold
            Number that goes into the seed, so that fits differ.
        device
            Where to compute; by default that of the estimator.
        """
        device = device or resolve_device(self.device)
        generator = seeded_generator(device, self.seed, fold)
        settings = self.path_settings
        if self.path == "recombination":
            settings = {
                "mean_block": self.mean_block,
                "season": self.season,
                "guard_share": self.guard_share,
                "locality": self.locality,
                "balance": self.balance,
                "max_rounds": self.max_rounds,
                "step_size": self.step_size,
                "num_walkers": self.num_walkers,
            }
        elif self.path in PARTITIONS:
            settings = {**settings, "path": self.path}
        with single_threaded():
            return MODELS[self.path].fit(
                values, generator, marginals=self.marginals, **settings
            )

    def _read(self, dataset: Entries) -> tuple[Windows, Preparation, np.ndarray, int]:
        """Complete windows, their preparation, what is learned, joined features."""
        windows = cut_windows(
            dataset,
            self.freq,
            self.length,
            self.stride,
            short=self.short_series,
            max_windows=self.max_windows,
            seed=self.seed,
        )
        _check_windows(windows, windows.length - (self.scaling == "returns"))
        self._check_names(windows)
        joined = 0
        if self.dynamic_features == "model":
            windows, joined = join_dynamic(windows)
        number = self.num_folds + 1
        generator = seeded_generator(torch.device("cpu"), self.seed, number)
        with single_threaded():
            complete = complete_training(
                windows.values, self.scaling, self.marginals, generator
            )
        missing = np.isnan(windows.values)
        preparation, values = Preparation.fit(complete, missing, self.scaling)
        return with_values(windows, complete), preparation, values, joined

    def _check_names(self, windows: Windows) -> None:
        names = self.channel_names
        if names is not None and len(names) != windows.num_channels:
            raise ValueError(
                f"channel_names has {len(names)} names and the data have "
                f"{windows.num_channels} channels; give one name a channel."
            )


def _fit_fold(
    estimator: DualKLEstimator,
    values: np.ndarray,
    folds: np.ndarray,
    train: np.ndarray,
    fold: int,
    device: torch.device,
) -> Any:
    """Ratios and optimism of held-out series; after the last fold the whole model."""
    held, whole = folds == fold, fold == estimator.num_folds
    if not (whole or held.any()):
        return {}, 0.0
    model = estimator.fit_model(values[train[fold]], fold, device)
    if whole:
        return model
    found = held_out_ratios(model, values[held])
    return found, optimism(model, found)


def _check_windows(windows: Windows, length: int) -> None:
    if len(windows) < MIN_SERIES:
        raise ValueError(
            f"the data give {len(windows)} windows of {windows.length} steps and at "
            f"least {MIN_SERIES} are needed, because the critics are calibrated on "
            "held-out series; add series, or cut more windows with a smaller length "
            "or stride."
        )
    if length < MIN_LENGTH:
        raise ValueError(
            f"windows have {length} steps to model and at least {MIN_LENGTH} are "
            "needed for dependence over time to show; choose a larger length."
        )


def _check_path(path: str, settings: dict[str, Any]) -> None:
    _check_choice("path", path, MODELS)
    if path == "recombination":
        allowed: list[str] = []
    else:
        names = inspect.signature(MODELS[path].fit).parameters
        allowed = [name for name in names if name not in OWN]
    for name in settings:
        if name not in allowed:
            known = f"it knows {', '.join(allowed)}" if allowed else "it takes none"
            raise ValueError(
                f"path_settings: {name!r} is unknown to {path!r}; {known}."
            )


def _check_choice(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; choose from {', '.join(choices)}.")


def _check_range(
    name: str, value: float | None, low: float, high: float | None
) -> None:
    if value is None:
        return
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} is {value}; it must be {bounds}.")
