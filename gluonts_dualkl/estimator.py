"""The estimator: a GluonTS dataset in, a trained generator out."""

import inspect
import logging
from typing import Any

import numpy as np
import torch
from gluonts.core.component import validated
from gluonts.gluonts_tqdm import tqdm
from gluonts.model import Estimator

from gluonts_dualkl.analysis.divergence import (
    fold_labels,
    held_out_ratios,
    optimism,
    warn_above_ceiling,
)
from gluonts_dualkl.data.missing import fill_missing
from gluonts_dualkl.data.windows import Windows, cut_windows, with_values
from gluonts_dualkl.generator import ChannelSelection, DualKLGenerator, resolve_device
from gluonts_dualkl.laws.marginals import KINDS
from gluonts_dualkl.models.base import PathModel
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
        pass to another; by default a twelfth of ``length``, at least 4. Shorter is
        more novel, longer more faithful.
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
    """

    @validated()
    def __init__(
        self,
        freq: str | None = None,
        length: int | None = None,
        stride: int | None = None,
        path: str = "recombination",
        path_settings: dict | None = None,
        marginals: str = "auto",
        mean_block: float | None = None,
        max_rounds: int = 16,
        step_size: float = 0.7,
        num_walkers: int = 600,
        num_steps: int = 20,
        num_folds: int = 5,
        channel_names: list | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        super().__init__()
        _check_range("mean_block", mean_block, 1.5, None)
        _check_range("max_rounds", max_rounds, 1, None)
        _check_range("step_size", step_size, 0.01, 1)
        _check_range("num_walkers", num_walkers, 50, None)
        _check_range("num_steps", num_steps, 1, None)
        _check_range("num_folds", num_folds, 2, 20)
        _check_range("seed", seed, 0, None)
        self.freq, self.length, self.stride = freq, length, stride
        self.path, self.path_settings = path, dict(path_settings or {})
        self.marginals = marginals
        _check_path(path, self.path_settings)
        if marginals not in KINDS:
            raise ValueError(
                f"marginals is {marginals!r}; choose from {', '.join(KINDS)}."
            )
        self.mean_block, self.max_rounds = mean_block, max_rounds
        self.step_size, self.num_walkers = step_size, num_walkers
        self.num_steps, self.num_folds = num_steps, num_folds
        self.channel_names, self.seed, self.device = channel_names, seed, device

    def train(
        self, training_data: Entries, validation_data: Entries | None = None
    ) -> DualKLGenerator:
        """Fit to a GluonTS dataset.

        Parameters
        ----------
        training_data
            Any GluonTS dataset, read once; at least 20 windows. NaN is missing and is
            filled by interpolation in time.
        validation_data
            Series kept from training: the divergence is then reported on them instead
            of being cross-fitted.

        Raises
        ------
        ValueError
            For data that cannot be used; the message says which and how to mend them.
        """
        windows = cut_windows(training_data, self.freq, self.length, self.stride)
        _check_windows(windows)
        self._check_names(windows)
        windows = with_values(windows, fill_missing(windows.values))
        channels = ChannelSelection.fit(windows.values)
        if not channels.varying.any():
            raise ValueError("every channel is constant; there is nothing to learn.")
        values = windows.values[:, :, channels.varying]
        folds = fold_labels(
            [name.rsplit("#", 1)[0] for name in windows.item_ids],
            self.num_folds,
            self.seed,
        )
        held_out: dict[str, np.ndarray] = {}
        excess = np.zeros(len(values))
        for fold in tqdm(range(self.num_folds + 1), desc="Training", unit="fit"):
            held = folds == fold  # none in the last round, which fits to all series
            model = self.fit_model(values[~held], fold)
            if held.any():
                found = held_out_ratios(model, values[held])
                excess[held] = optimism(model, found)
                for name, score in found.items():
                    held_out.setdefault(name, np.zeros(len(values)))[held] = score
        generator = DualKLGenerator(
            model,
            windows,
            channels,
            held_out,
            float(excess.mean()),
            channel_names=self.channel_names,
            num_steps=self.num_steps,
        )
        warn_above_ceiling(generator.divergence())
        if validation_data is not None:
            generator.validation = held_out_ratios(
                model, generator.read_values(validation_data)
            )
            generator.optimism = optimism(model, generator.validation)
        return generator

    def fit_model(self, values: np.ndarray, fold: int = 0) -> PathModel:
        """One fitted path, without cross-fitting.

        Parameters
        ----------
        values
            Windows ``(N, T, C)``, finite, no channel constant.
        fold
            Number that goes into the seed, so that fits differ.
        """
        device = resolve_device(self.device)
        entropy = np.random.SeedSequence([self.seed, fold])
        state = int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1))
        generator = torch.Generator(device).manual_seed(state)
        settings = self.path_settings
        if self.path == "recombination":
            settings = {
                "mean_block": self.mean_block,
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

    def _check_names(self, windows: Windows) -> None:
        names = self.channel_names
        if names is not None and len(names) != windows.num_channels:
            raise ValueError(
                f"channel_names has {len(names)} names and the data have "
                f"{windows.num_channels} channels; give one name a channel."
            )


def _check_windows(windows: Windows) -> None:
    if len(windows) < MIN_SERIES:
        raise ValueError(
            f"the data give {len(windows)} windows of {windows.length} steps and at "
            f"least {MIN_SERIES} are needed, because the critics are calibrated on "
            "held-out series; add series, or cut more windows with a smaller length "
            "or stride."
        )
    if windows.length < MIN_LENGTH:
        raise ValueError(
            f"windows have {windows.length} steps and at least {MIN_LENGTH} are "
            "needed for dependence over time to show; choose a larger length."
        )


def _check_path(path: str, settings: dict[str, Any]) -> None:
    if path not in MODELS:
        raise ValueError(f"path is {path!r}; choose from {', '.join(MODELS)}.")
    if path == "recombination":
        allowed: list[str] = []
    else:
        names = inspect.signature(MODELS[path].fit).parameters
        allowed = [
            name for name in names if name not in ("values", "generator", "path")
        ]
    for name in settings:
        if name not in allowed:
            known = f"it knows {', '.join(allowed)}" if allowed else "it takes none"
            raise ValueError(
                f"path_settings: {name!r} is unknown to {path!r}; {known}."
            )


def _check_range(
    name: str, value: float | None, low: float, high: float | None
) -> None:
    if value is None:
        return
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} is {value}; it must be {bounds}.")
