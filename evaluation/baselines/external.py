"""Generators of other packages, optional extras: imported only when they are fitted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from types import ModuleType
from typing import Any, ClassVar
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.evaluation.baselines.base import Baseline
from gluonts_dualkl.threads import single_threaded

__all__ = ["MissingExtraError", "SdvPar", "Tsgm"]


class MissingExtraError(ImportError):
    """An optional package is not installed; the message says which extra to install."""


def _install(package: str, extra: str) -> str:
    return f"{package} is missing; pip install 'gluonts-dualkl[{extra}]'"


def _needed(module: str, extra: str) -> ModuleType:
    """Import an optional module."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module.partition('.')[0]} cannot be imported ({error}); install it with "
            f"pip install 'gluonts-dualkl[{extra}]'"
        ) from error


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The three global generators seeded, and as they were afterwards; one thread."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices), single_threaded():
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@dataclass(eq=False)
class _External(Baseline):
    """A generator of another package: seeded, quiet; loading fits it again.

    The packages save their models as pickles, which run code when they are read, so
    that only the windows are saved.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    seed: int = 0

    @classmethod
    def lacks(cls) -> str:
        """What has to be installed first, see :meth:`Baseline.lacks`."""
        found = importlib.util.find_spec(cls.package)
        there = found is not None and found.origin is not None
        return "" if there else _install(cls.package, cls.extra)

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        for name in ("epochs", "batch_size", "latent"):
            if (value := self.arguments.get(name, 1)) < 1:
                raise ValueError(f"{name}: {value}, expected 1 or more")
        with _seeded(self.seed), catch_warnings(), redirect_stdout(StringIO()):
            simplefilter("ignore")
            self._prepare()
            self._model = self._train_model(windows)

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        seed = int(rng.integers(2**31))
        with _seeded(seed), catch_warnings(), redirect_stdout(StringIO()):
            simplefilter("ignore")
            return self._draw(num_samples)

    @abstractmethod
    def _prepare(self) -> None:
        """Import what is needed; :class:`MissingExtraError` where it is missing."""

    @abstractmethod
    def _train_model(self, windows: np.ndarray) -> Any:
        """Fit the foreign model to windows ``(N, T, C)``."""

    @abstractmethod
    def _draw(self, num_samples: int) -> np.ndarray:
        """Windows ``(n, T, C)`` in original units."""


@dataclass(eq=False)
class Tsgm(_External):
    """Convolutional VAE of ``tsgm``, by its own architecture and training step.

    Nikitin, Iannucci & Kaski (2024), "TSGM: A flexible framework for generative
    modeling of synthetic time series", NeurIPS. Apache-2.0. Keras 3 on torch:
    ``KERAS_BACKEND`` is set to ``torch`` for the process if it is not set.

    The model is ``BetaVAE`` with the architecture ``vae_conv5``; its output is a
    sigmoid, so channels are brought to [0, 1]. tsgm 0.1.0 sums the squared error over
    the batch while it averages the divergence, and does not use its ``beta``: the
    batch size is what weighs reconstruction, which is why it is tuned here.

    Parameters
    ----------
    seed
        Seed of weights and batches.
    epochs
        Passes over the windows.
    batch_size
        Windows in a step; more weigh reconstruction more.
    latent
        Dimensions of the latent variable.
    learning_rate
        Of Adam.
    """

    package: ClassVar[str] = "tsgm"
    extra: ClassVar[str] = "tsgm"
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"batch_size": 4},
        {"batch_size": 16},
        {"batch_size": 64},
    )

    epochs: int = 100
    batch_size: int = 16
    latent: int = 8
    learning_rate: float = 1e-3

    def _prepare(self) -> None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
        keras = _needed("keras", "tsgm")
        if keras.backend.backend() != "torch":
            raise ValueError(
                f"Keras runs on {keras.backend.backend()!r}, but torch is needed; set "
                "KERAS_BACKEND=torch before keras is imported"
            )
        _needed("tsgm.models.cvae", "tsgm")
        _needed("tsgm.models.architectures", "tsgm")

    def _train_model(self, windows: np.ndarray) -> Any:
        import keras
        from tsgm.models.architectures import zoo
        from tsgm.models.cvae import BetaVAE

        low, high = windows.min((0, 1)), windows.max((0, 1))
        self._low, self._range = low, np.where(high > low, high - low, 1.0)
        scaled = ((windows - self._low) / self._range).astype(np.float32)
        keras.utils.set_random_seed(self.seed % 2**32)
        nets = zoo["vae_conv5"](*windows.shape[1:], self.latent)
        model = BetaVAE(nets.encoder, nets.decoder)
        model.compile(optimizer=keras.optimizers.Adam(self.learning_rate))
        batch = min(self.batch_size, len(scaled))
        model.fit(scaled, epochs=self.epochs, batch_size=batch, verbose=0)
        return model

    def _draw(self, num_samples: int) -> np.ndarray:
        z = torch.randn(num_samples, self.latent)
        drawn = self._model.decoder.predict(z.numpy(), verbose=0)
        return self._low + self._range * np.asarray(drawn, dtype=float)


@dataclass(eq=False)
class SdvPar(_External):
    """Probabilistic autoregression of SDV: a GRU that gives each step's normal law.

    Zhang, Patki & Veeramachaneni (2022), "Sequential models in the Synthetic Data
    Vault", arXiv:2207.14406. SDV is under the Business Source License 1.1, which is not
    an open source licence: it forbids offering the software to others as a synthetic
    data service. Read it before use.

    Windows are given as sequences without a time index. PAR draws the channels of a
    step independently of each other given the steps before, so that what they share
    within a step is lost unless the past tells it.

    Parameters
    ----------
    seed
        Seed of weights and batches.
    epochs
        Passes over all windows, one gradient step each.
    """

    package: ClassVar[str] = "sdv"
    extra: ClassVar[str] = "sdv"
    grid: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"epochs": epochs} for epochs in (128, 512, 1500)
    )

    epochs: int = 512

    def _prepare(self) -> None:
        _needed("sdv.sequential", "sdv")

    def _train_model(self, windows: np.ndarray) -> Any:
        from sdv.metadata import Metadata
        from sdv.sequential import PARSynthesizer

        num, length, channels = windows.shape
        names = [f"x{c}" for c in range(channels)]
        table = pd.DataFrame(windows.reshape(-1, channels), columns=names)
        table.insert(0, "window", np.repeat([f"w{i}" for i in range(num)], length))
        columns: dict[str, dict[str, str]] = {n: {"sdtype": "numerical"} for n in names}
        columns["window"] = {"sdtype": "id"}
        about = {"columns": columns, "sequence_key": "window"}
        metadata = Metadata.load_from_dict({"tables": {"windows": about}})
        model = PARSynthesizer(
            metadata, epochs=self.epochs, enforce_rounding=False, cuda=False
        )
        model.fit({"windows": table})
        return model

    def _draw(self, num_samples: int) -> np.ndarray:
        length, channels = self._train.shape[1:]
        drawn = self._model.sample_sequences(num_samples, sequence_length=length)
        names = [f"x{c}" for c in range(channels)]
        return (
            drawn["windows"][names]
            .to_numpy(float)
            .reshape(num_samples, length, channels)
        )
