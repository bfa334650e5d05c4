"""The trained generator: draws new series and says what it knows of the data."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.analysis.divergence import INTEGRATED, summarise
from gluonts_dualkl.analysis.dual_space import dual_features, embed
from gluonts_dualkl.data.missing import fill_missing
from gluonts_dualkl.data.windows import Windows, cut_windows
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.serialization import load_generator, save_generator
from gluonts_dualkl.threads import single_threaded
from gluonts_dualkl.types import DataEntry, Divergence, DualSpace, Entries, Walk

__all__ = ["DualKLGenerator", "resolve_device"]

logger = logging.getLogger(__name__)

BLOCK = 256


def resolve_device(device: str | torch.device | None) -> torch.device:
    """``"auto"`` and ``None`` take CUDA where there is one, else the CPU."""
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


@dataclass(frozen=True)
class ChannelSelection:
    """Channels that vary, which are modelled, and the values of those that do not.

    Attributes
    ----------
    varying
        Whether a channel varies, ``(C,)``.
    constants
        Values of the constant channels, ``(C,)``; NaN for varying ones.
    """

    varying: np.ndarray
    constants: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray) -> ChannelSelection:
        """Find the constant channels of ``values``, ``(N, T, C)``."""
        varying = values.max((0, 1)) > values.min((0, 1))
        return cls(varying, np.where(varying, np.nan, values[0, 0]).astype(np.float32))

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Put the constant channels back, ``(n, T, C)``."""
        full = np.empty((*values.shape[:2], len(self.varying)), np.float32)
        full[:] = self.constants
        full[:, :, self.varying] = values
        return full


class DualKLGenerator:
    """New series from the law that a :class:`DualKLEstimator` learned.

    Made by :meth:`DualKLEstimator.train` or :meth:`deserialize`. The same seed gives
    the same series, and series ``k`` does not depend on how many are asked for: series
    are drawn in blocks of fixed size, each seeded by the seed and its number.

    Parameters
    ----------
    model
        The fitted path and sampler, over the channels that vary.
    windows
        The training windows, missing values filled.
    channels
        Which channels vary.
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
    """

    def __init__(
        self,
        model: PathModel,
        windows: Windows,
        channels: ChannelSelection,
        held_out: dict[str, np.ndarray],
        optimism: float = 0.0,
        validation: dict[str, np.ndarray] | None = None,
        channel_names: list[str] | None = None,
        num_steps: int = 20,
    ) -> None:
        self.model, self.windows, self.channels = model, windows, channels
        self.held_out, self.validation = held_out, validation
        self.optimism = optimism
        self.channel_names = channel_names or [
            f"c{k}" for k in range(windows.num_channels)
        ]
        self.num_steps = num_steps

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
        """Channels ``C`` of a generated series."""
        return self.windows.num_channels

    @property
    def num_series(self) -> int:
        """Number of training windows ``N``."""
        return len(self.windows)

    @property
    def train_values(self) -> np.ndarray:
        """Training windows in original units, ``(N, T, C)``."""
        return self.windows.values

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.train.device

    def sample(self, num_samples: int, seed: int = 0) -> np.ndarray:
        """Draw series in original units, ``(n, T, C)`` float32."""
        blocks = [values for values, _ in self._blocks(num_samples, seed)]
        if not blocks:
            return np.empty((0, self.length, self.num_channels), np.float32)
        return np.concatenate(blocks)

    def generate(
        self,
        num_series: int,
        seed: int = 0,
        item_id_prefix: str = "synthetic-",
        start: pd.Period | None = None,
    ) -> Iterator[DataEntry]:
        """Draw series as GluonTS entries, one block in memory at a time.

        Start period, static and dynamic features are those of the training window that
        gave the series most of its steps, so that calendar phase and category fit.

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

        Raises
        ------
        ValueError
            If the arguments are out of range or a name is that of a training item.
        """
        self._check_draw(num_series, seed)
        self._check_names(num_series, item_id_prefix)
        return self._entries(num_series, seed, item_id_prefix, start)

    def read_values(self, dataset: Entries) -> np.ndarray:
        """Windows of a dataset as the model takes them, ``(n, T, C)``.

        Cut as in training, missing values filled, constant channels left out.
        """
        windows = cut_windows(dataset, self.freq, self.length)
        if windows.num_channels != self.num_channels:
            raise ValueError(
                f"the dataset has {windows.num_channels} channels and the generator "
                f"was trained on {self.num_channels}; give the same channels."
            )
        return fill_missing(windows.values)[:, :, self.channels.varying]

    def log_ratio(self, dataset: Entries) -> np.ndarray:
        """Normalised dual function ``log p(x)/q(x)`` of every window, ``(n,)``, nats.

        Windows are cut as in training. Training series score higher than new ones of
        the same law because the model has seen them; ``dual_space().levels`` holds
        their cross-fitted levels.
        """
        ratios = self.model.log_ratio(self.read_values(dataset))
        return torch.stack(list(ratios.values())).sum(0).cpu().numpy()

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
        states, steps = self.model.walk(num_steps, self._generator(seed, 0))
        ratios = self.model.log_ratio_of_scores(states.z)
        return Walk(
            values=self._original(states.z),
            levels=torch.stack(list(ratios.values())).sum(0).cpu().numpy(),
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
                for name, varies in zip(self.channel_names, self.channels.varying)
                if not varies
            ],
            "num_series": self.num_series,
            "divergence_nats": divergence.value,
            "divergence_interval_nats": [divergence.lower, divergence.upper],
            "nats_by_leg": divergence.per_leg,
            "gaussian_order": self.model.gaussian.order,
            "path": self.model.kind,
            "mean_block_steps": self.model.facts().get("mean_block"),
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
            "channels": vars(self.channels),
            "held_out": self.held_out,
            "optimism": self.optimism,
            "validation": self.validation,
            "channel_names": self.channel_names,
            "num_steps": self.num_steps,
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
        parts = load_generator(Path(path), resolve_device(device))
        channels = ChannelSelection(**parts.pop("channels"))
        return cls(channels=channels, **parts)

    def _generator(self, seed: int, block: int) -> torch.Generator:
        state = np.random.SeedSequence([seed, block]).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(state >> np.uint64(1)))

    def _original(self, z: torch.Tensor) -> np.ndarray:
        values = self.model.marginals.from_normal(z).cpu().numpy()
        return self.channels.restore(values)

    def _blocks(
        self, num_series: int, seed: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Values and majority donors, block by block."""
        self._check_draw(num_series, seed)
        for block in range(-(-num_series // BLOCK)):
            generator = self._generator(seed, block)
            with single_threaded():
                state = self.model.draw(BLOCK, self.num_steps, generator)
                near = self.model.count_near_copies(state.z)
            if near:
                logger.warning(
                    "%d of %d series drawn are nearer to a training series than 97 %% "
                    "of these are to each other",
                    near,
                    BLOCK,
                )
            state = state[: num_series - block * BLOCK]
            donors = torch.mode(state.donors, 1).values.cpu().numpy()
            yield self._original(state.z), donors

    def _entries(
        self, num_series: int, seed: int, prefix: str, start: pd.Period | None
    ) -> Iterator[DataEntry]:
        k = 0
        for values, donors in self._blocks(num_series, seed):
            for series, donor in zip(values, donors, strict=True):
                yield self._entry(series, int(donor), f"{prefix}{k}", start)
                k += 1

    def _entry(
        self, series: np.ndarray, donor: int, item_id: str, start: pd.Period | None
    ) -> DataEntry:
        windows = self.windows
        target = series[:, 0] if windows.univariate else series.T
        features = {**windows.static, **windows.dynamic}
        return {
            FieldName.TARGET: np.ascontiguousarray(target),
            FieldName.START: windows.starts[donor] if start is None else start,
            FieldName.ITEM_ID: item_id,
            **{name: values[donor].copy() for name, values in features.items()},
        }

    def _check_draw(self, num_series: int, seed: int) -> None:
        if num_series < 0:
            raise ValueError(f"{num_series} series cannot be drawn; ask for 0 or more.")
        if seed < 0:
            raise ValueError(f"seed is {seed}; give a seed of 0 or more.")

    def _check_names(self, num_series: int, prefix: str) -> None:
        for name in self.windows.item_ids:
            number = name.removeprefix(prefix)
            if number != name and number.isdecimal() and int(number) < num_series:
                raise ValueError(
                    f"item_id_prefix {prefix!r} would repeat the training item "
                    f"{name!r}; choose another prefix."
                )
