"""The trained generator: draws new series and says what it knows of the data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.analysis.divergence import INTEGRATED, summarise
from gluonts_dualkl.analysis.dual_space import dual_features, embed
from gluonts_dualkl.data.conditions import Condition
from gluonts_dualkl.data.preparation import DYNAMIC, Preparation, join_dynamic
from gluonts_dualkl.data.windows import Windows, cut_windows
from gluonts_dualkl.devices import resolve_device, seeded_generator
from gluonts_dualkl.drawing import BLOCK, Drawing, majority
from gluonts_dualkl.models.base import NUM_STEPS, PathModel, sum_legs
from gluonts_dualkl.models.completion import complete_others
from gluonts_dualkl.request import Request
from gluonts_dualkl.serialization import load_generator, save_generator
from gluonts_dualkl.types import DataEntry, Divergence, DualSpace, Entries, Walk

__all__ = ["BLOCK", "DualKLGenerator", "resolve_device"]


class DualKLGenerator:
    """New series from the law that a :class:`DualKLEstimator` learned.

    Made by :meth:`DualKLEstimator.train` or :meth:`deserialize`. The same seed gives
    the same series, and series ``k`` does not depend on how many are asked for: series
    are drawn in blocks of fixed size, each seeded by the seed and its number.

    Parameters
    ----------
    model
        The fitted path and sampler, over scaled channels that vary.
    windows
        The training windows in original units, missing values filled.
    preparation
        How windows are scaled, which channels vary, where values were missing.
    held_out
        Cross-fitted log-ratios of the training windows by leg, ``(N,)`` each.
    optimism
        By how many nats models score their training series above others.
    validation
        Log-ratios of validation windows by leg, where there were any.
    channel_names
        Names of the ``C`` channels.
    num_steps
        Moves of the walk behind every series.
    num_covariates
        Channels at the end that are dynamic real features of the dataset, modelled
        with the targets.
    """

    def __init__(
        self,
        model: PathModel,
        windows: Windows,
        preparation: Preparation,
        held_out: dict[str, np.ndarray],
        optimism: float = 0.0,
        validation: dict[str, np.ndarray] | None = None,
        channel_names: list[str] | None = None,
        num_steps: int = NUM_STEPS,
        num_covariates: int = 0,
    ) -> None:
        self.model, self.windows, self.preparation = model, windows, preparation
        self.held_out, self.validation = held_out, validation
        self.optimism = optimism
        targets = [f"c{k}" for k in range(windows.num_channels - num_covariates)]
        features = [f"{DYNAMIC}_{k}" for k in range(num_covariates)]
        self.channel_names = [*(channel_names or targets), *features]
        self.num_steps, self.num_covariates = num_steps, num_covariates

    @property
    def freq(self) -> str:
        """Frequency of the series."""
        return self.windows.freq

    @property
    def length(self) -> int:
        """Time steps ``T`` of a generated series."""
        return self.windows.length

    @property
    def num_channels(self) -> int:
        """Channels ``C`` of a generated series, modelled features included."""
        return self.windows.num_channels

    @property
    def num_series(self) -> int:
        """Number of training windows ``N``."""
        return len(self.windows)

    @property
    def train_values(self) -> np.ndarray:
        """Training windows in original units, gaps filled, ``(N, T, C)``."""
        return self.windows.values

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.train.device

    def sample(
        self,
        num_samples: int,
        seed: int = 0,
        *,
        length: int | None = None,
        condition: Condition | None = None,
    ) -> np.ndarray:
        """Draw series in original units, ``(n, T, C)`` float32, see :meth:`generate`.

        Modelled features are the last of the ``C`` channels.
        """
        request = self._request(num_samples, seed, length, condition)
        blocks = [values for values, _ in self._drawing.blocks(request)]
        if not blocks:
            steps = request.length or self.length
            return np.empty((0, steps, self.num_channels), np.float32)
        return np.concatenate(blocks)

    def generate(
        self,
        num_series: int,
        seed: int = 0,
        item_id_prefix: str = "synthetic-",
        start: pd.Period | None = None,
        *,
        length: int | None = None,
        condition: Condition | None = None,
        with_missing: bool = False,
    ) -> Iterator[DataEntry]:
        """Draw series as GluonTS entries, one block in memory at a time.

        Start period, scale, static and carried dynamic features are those of the
        training window that gave the series most of its steps, so that calendar phase
        and category fit.

        Parameters
        ----------
        num_series
            Number of series.
        seed
            Seed of the draw, ``>= 0``.
        item_id_prefix
            Series ``k`` is called ``<prefix><k>``.
        start
            Start period of all series, instead of those of the training windows.
        length
            Time steps, more than a window's: windows are then chained, each drawn given
            the end of the one before, see :mod:`gluonts_dualkl.models.chaining`.
        condition
            Wanted static features, as ``{"feat_static_cat": [2, None]}`` with None for
            any: only training windows that fit are donors, see
            :func:`~gluonts_dualkl.data.conditions.rows_of`. Default path only.
        with_missing
            Whether values are missing (NaN) where they were in the training window that
            gave a series most of its steps; complete series by default.

        Raises
        ------
        ValueError
            If the arguments are out of range, the condition fits too few training
            windows, or a name is that of a training item.
        """
        request = replace(
            self._request(num_series, seed, length, condition),
            prefix=item_id_prefix,
            start=start,
            with_missing=with_missing,
        )
        return self._drawing.entries(request.check_entries(self.windows))

    def read_windows(self, dataset: Entries) -> np.ndarray:
        """Complete windows of a dataset in original units, ``(n, T, C)``.

        Cut as in training; missing values are drawn from the model's Gaussian law given
        what is observed.
        """
        windows = cut_windows(dataset, self.freq, self.length)
        if self.num_covariates:
            windows, _ = join_dynamic(windows)
        if windows.num_channels != self.num_channels:
            raise ValueError(
                f"the dataset has {windows.num_channels} channels and the generator "
                f"was trained on {self.num_channels}; give the same channels."
            )
        return complete_others(self.model, self.preparation, windows.values)

    def read_values(self, dataset: Entries) -> np.ndarray:
        """Windows of a dataset as the model takes them, ``(n, T', C')``."""
        return self.preparation.forward(self.read_windows(dataset))

    def log_ratio(self, dataset: Entries) -> np.ndarray:
        """Normalised dual function ``log p(x)/q(x)`` of every window, ``(n,)``, nats.

        Windows are cut as in training. Training series score higher than new ones of
        the same law because the model has seen them; ``dual_space().levels`` holds
        their cross-fitted levels.
        """
        ratios = self.model.log_ratio(self.read_values(dataset))
        return sum_legs(ratios).cpu().numpy()

    def divergence(self) -> Divergence:
        """Held-out estimate of ``KL(P || Q)``, the total correlation, nats.

        From validation data where training had them, else cross-fitted.
        """
        scores = self.held_out if self.validation is None else self.validation
        return summarise(scores, self.optimism)

    def dual_space(self) -> DualSpace:
        """The training windows on the line of their cross-fitted levels, nats."""
        return self._dual_space

    @cached_property
    def _dual_space(self) -> DualSpace:
        legs = [v for name, v in self.held_out.items() if name != INTEGRATED]
        return embed(np.sum(legs, axis=0), dual_features(self.model))

    def walk(self, num_steps: int = 60, seed: int = 0) -> Walk:
        """The states that one chain of the sampler visits from a reference draw."""
        if num_steps < 1:
            raise ValueError(f"num_steps is {num_steps}; ask for at least one step.")
        states, steps = self.model.walk(
            num_steps, seeded_generator(self.device, seed, 0)
        )
        ratios = self.model.log_ratio_of_scores(states.z)
        return Walk(
            values=self._drawing.original(states.z, majority(states.donors)),
            levels=sum_legs(ratios).cpu().numpy(),
            steps=steps,
            donors=states.donors.cpu().numpy(),
        )

    @property
    def certificate(self) -> list[tuple[str, float, float]]:
        """Learned legs: name, cross-fitted log-loss at the end (``ln 2`` when nothing
        is left to learn) and held-out nats.
        """
        return [
            (name, loss, float(self.held_out[name].mean()))
            for name, loss in self.model.losses.items()
        ]

    def info(self) -> dict[str, Any]:
        """Plain facts about the model, fit for JSON."""
        divergence = self.divergence()
        return {
            "version": version("gluonts-dualkl"),
            "freq": self.freq,
            "length": self.length,
            "channels": list(self.channel_names),
            "constant_channels": [
                name
                for name, varies in zip(self.channel_names, self.preparation.varying)
                if not varies
            ],
            "scaling": self.preparation.scaling,
            "num_series": self.num_series,
            "divergence_nats": divergence.value,
            "divergence_interval_nats": [divergence.lower, divergence.upper],
            "nats_by_leg": divergence.per_leg,
            "gaussian_order": self.model.gaussian.order,
            "path": self.model.kind,
            "mean_block_steps": self.model.facts().get("mean_block"),
            "season_steps": self.model.facts().get("season"),
            "locality": self.model.facts().get("locality"),
            "certificate": [
                {"leg": name, "held_out_log_loss": loss, "nats": nats}
                for name, loss, nats in self.certificate
            ],
        }

    def serialize(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write the generator to a new folder, complete or not at all.

        The folder holds ``gluonts-config.json``, ``generator.json`` and
        ``generator-state.pt``; the last contains the training series.

        Raises
        ------
        FileExistsError
            If ``path`` exists, unless ``force`` is set and it holds a generator.
        """
        parts = {
            "model": self.model,
            "windows": self.windows,
            "preparation": self.preparation,
            "held_out": self.held_out,
            "optimism": self.optimism,
            "validation": self.validation,
            "channel_names": self.channel_names[
                : self.num_channels - self.num_covariates
            ],
            "num_steps": self.num_steps,
            "num_covariates": self.num_covariates,
        }
        save_generator(parts, Path(path), force)

    @classmethod
    def deserialize(
        cls,
        path: str | os.PathLike[str],
        device: str | torch.device | None = None,
    ) -> DualKLGenerator:
        """Read a generator from a folder; no code from the folder is run.

        Raises
        ------
        FileNotFoundError
            If there is no generator at ``path``.
        ValueError
            If the folder is damaged or of a newer format.
        """
        return cls(**load_generator(Path(path), resolve_device(device)))

    @cached_property
    def _drawing(self) -> Drawing:
        return Drawing(
            self.model,
            self.windows,
            self.preparation,
            self.num_steps,
            self.num_covariates,
        )

    def _request(
        self,
        num_series: int,
        seed: int,
        length: int | None,
        condition: Condition | None,
    ) -> Request:
        return Request.checked(
            self.windows, self.model.conditional, num_series, seed, length, condition
        )
