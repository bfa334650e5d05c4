"""Forecasters of ``gluonts.torch`` on windows, quiet and without a trace on the disk.

Every training takes ``num_batches * num_epochs`` gradient steps, however many windows
there are. Validation windows choose the checkpoint, because without them GluonTS keeps
the one of the lowest *training* loss. Calendar features are left out: windows come
without dates. Random states of Python, NumPy and torch are as before afterwards.
"""

from __future__ import annotations

import logging
import random
import tempfile
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gluonts_dualkl.data.windows import dataset_from_array
from gluonts_dualkl.evaluation.forecasting.forecasters import Forecaster
from gluonts_dualkl.evaluation.forecasting.scores import LEVELS
from gluonts_dualkl.types import DataEntry

__all__ = ["DeepAR", "ITransformer", "PatchTST", "SimpleFeedForward"]

_FREQ = "h"
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning", "pytorch_lightning")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the three global generators that GluonTS draws from, and restore them."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  the samplers read this state
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, progress bars or hints of the trainer."""
    import lightning.pytorch  # noqa: F401  its import sets levels, so it comes first

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@dataclass(eq=False)
class _Torch(Forecaster):
    """A GluonTS estimator.

    Parameters
    ----------
    num_epochs, num_batches
        Epochs, and batches in each.
    batch_size
        Windows of a batch.
    accelerator
        Accelerator of the trainer, ``"cpu"`` or ``"gpu"``.
    """

    num_epochs: int = 20
    num_batches: int = 50
    batch_size: int = 32
    accelerator: str = "cpu"

    _multivariate = False

    @abstractmethod
    def _estimator(self, context: int, season: int, common: dict[str, Any]) -> Any:
        """Estimator for contexts of so many steps."""

    def _fit(
        self, train: np.ndarray, validation: np.ndarray, season: int, seed: int
    ) -> None:
        context = train.shape[1] - self.horizon
        self._num_channels = train.shape[2]
        with _quiet(), _seeded(seed), tempfile.TemporaryDirectory() as folder:
            trainer: dict[str, Any] = {
                "max_epochs": self.num_epochs,
                "accelerator": self.accelerator,
                "devices": 1,
                "logger": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "default_root_dir": folder,
            }
            common = {
                "prediction_length": self.horizon,
                "context_length": context,
                "batch_size": self.batch_size,
                "num_batches_per_epoch": self.num_batches,
                "trainer_kwargs": trainer,
            }
            estimator = self._estimator(context, season, common)
            order = np.random.default_rng(seed).permutation(len(train))
            self._predictor = estimator.train(
                self._entries(train[order]), self._entries(validation)
            )

    def _predict(self, past: np.ndarray, seed: int) -> np.ndarray:
        with _quiet(), _seeded(seed):
            forecasts = list(self._predictor.predict(self._entries(past)))
        found = np.array([[f.quantile(q) for q in LEVELS] for f in forecasts])
        if self._multivariate:
            return found
        wanted = (len(past), self._num_channels, len(LEVELS), self.horizon)
        if found.size != np.prod(wanted):
            raise ValueError(
                f"{type(self).__name__}: {len(forecasts)} forecasts for {len(past)} "
                f"windows of {self._num_channels} channels"
            )
        return found.reshape(wanted).transpose(0, 2, 3, 1)

    def _entries(self, windows: np.ndarray) -> list[DataEntry]:
        """GluonTS entries; univariate models get each channel as an item."""
        if self._multivariate:
            return dataset_from_array(windows, _FREQ)
        channels = windows.transpose(0, 2, 1).reshape(-1, windows.shape[1])
        return dataset_from_array(channels, _FREQ)


def _lags(context: int, season: int) -> list[int]:
    """Short lags and those about one season that the context reaches."""
    wanted = {1, 2, 3, season - 1, season, season + 1}
    return sorted(lag for lag in wanted if 1 <= lag <= max(context // 2, 1))


@dataclass(eq=False)
class DeepAR(_Torch):
    """DeepAR (Salinas et al. 2020), lags within the context, channels as items."""

    def _estimator(self, context: int, season: int, common: dict[str, Any]) -> Any:
        from gluonts.torch import DeepAREstimator

        lags = _lags(context, season)
        # the longest lag lengthens what the model reads
        common = common | {"context_length": max(context - max(lags), 1)}
        return DeepAREstimator(
            freq=_FREQ,
            lags_seq=lags,
            time_features=[],
            patience=self.num_epochs + 1,
            **common,
        )


@dataclass(eq=False)
class SimpleFeedForward(_Torch):
    """A feed-forward network from the context to the horizon, channels as items."""

    def _estimator(self, context: int, season: int, common: dict[str, Any]) -> Any:
        from gluonts.torch import SimpleFeedForwardEstimator

        return SimpleFeedForwardEstimator(**common)


@dataclass(eq=False)
class PatchTST(_Torch):
    """PatchTST (Nie et al. 2023) on patches of an eighth of the context, 2 to 16."""

    def _estimator(self, context: int, season: int, common: dict[str, Any]) -> Any:
        from gluonts.torch import PatchTSTEstimator

        patch = int(np.clip(context // 8, 2, 16))
        return PatchTSTEstimator(patch_len=patch, stride=max(patch // 2, 1), **common)


@dataclass(eq=False)
class ITransformer(_Torch):
    """iTransformer (Liu et al. 2024): attention across channels."""

    _multivariate = True

    def _estimator(self, context: int, season: int, common: dict[str, Any]) -> Any:
        from gluonts.torch.model.i_transformer import ITransformerEstimator

        return ITransformerEstimator(**common)
