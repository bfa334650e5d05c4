"""From a request to series: blocks of draws, chained windows, GluonTS entries.

Series are drawn in blocks of fixed size, each seeded by the seed and its number: the
same seed gives the same series, series ``k`` does not depend on how many are asked for,
and memory does not grow with their number. On a CPU several blocks are drawn at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from gluonts.dataset.field_names import FieldName

from gluonts_dualkl.data.preparation import DYNAMIC, Preparation
from gluonts_dualkl.data.windows import Windows
from gluonts_dualkl.devices import seeded_generator
from gluonts_dualkl.models.base import PathModel
from gluonts_dualkl.models.chaining import chain, default_overlap
from gluonts_dualkl.models.phases import Phases
from gluonts_dualkl.request import Request
from gluonts_dualkl.threads import in_threads
from gluonts_dualkl.types import DataEntry

__all__ = ["BLOCK", "Drawing", "majority"]

logger = logging.getLogger(__name__)

BLOCK = 256
MAX_WORKERS = 4


def majority(donors: torch.Tensor) -> np.ndarray:
    """The training window that gave most of the steps ``(n, T)``, ``(n,)``."""
    return torch.mode(donors, 1).values.cpu().numpy()


@dataclass(frozen=True)
class Drawing:
    """A fitted path with what makes its draws into series.

    Attributes
    ----------
    model
        The fitted path.
    windows
        The training windows, whose start, scale and features series take.
    preparation
        How windows were prepared for the model.
    num_steps
        Moves of the walk behind every series.
    num_covariates
        Channels at the end that are dynamic real features.
    """

    model: PathModel
    windows: Windows
    preparation: Preparation
    num_steps: int
    num_covariates: int

    def original(self, z: torch.Tensor, donors: np.ndarray) -> np.ndarray:
        """Normal scores in original units, scaled as the training windows ``donors``.

        ``(n, T, C)``, float32.
        """
        values = self.model.marginals.from_normal(z).cpu().numpy()
        return self.preparation.backward(values, self.preparation.scales[donors])

    def blocks(self, request: Request) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Series ``(m, T, C)`` and their majority donors ``(m,)``, block by block."""
        device = self.model.train.device
        model = self._asked(request)

        def drawn(block: int) -> tuple[np.ndarray, np.ndarray]:
            generator = seeded_generator(device, request.seed, block)
            values, donors = self._block(model, request.length, generator)
            left = request.num_series - block * BLOCK
            return values[:left], donors[:left]

        blocks = range(-(-request.num_series // BLOCK))
        most = 1 if device.type == "cuda" else min(MAX_WORKERS, torch.get_num_threads())
        yield from in_threads(drawn, blocks, max(1, min(most, len(blocks))))

    def entries(self, request: Request) -> Iterator[DataEntry]:
        """Series as GluonTS entries."""
        k = 0
        for values, donors in self.blocks(request):
            mask = self.preparation.mask_of(donors) if request.with_missing else None
            if mask is not None:
                values = np.where(mask, np.float32(np.nan), values)
            for series, donor in zip(values, donors, strict=True):
                name = f"{request.prefix}{k}"
                yield self._entry(series, int(donor), name, request.start)
                k += 1

    @cached_property
    def _overlap(self) -> int:
        windows, length = self.windows, self.model.train.shape[1]
        return default_overlap(windows.starts, windows.item_ids, length)

    def _asked(self, request: Request) -> PathModel:
        """The model under the condition of a request."""
        if request.rows is None:
            return self.model
        rows = torch.as_tensor(request.rows, device=self.model.train.device)
        return self.model.conditioned(rows)

    def _block(
        self, model: PathModel, length: int | None, generator: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        if length is not None:
            return self._chained(model, length, generator)
        state = model.draw(BLOCK, self.num_steps, generator)
        near = model.count_near_copies(state.z)
        if near:
            logger.warning(
                "%d of %d series drawn are nearer to a training series than 97 %% "
                "of these are to each other",
                near,
                BLOCK,
            )
        donors = majority(state.donors)
        return self.original(state.z, donors), donors

    def _chained(
        self, model: PathModel, length: int, generator: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A block of series longer than a window."""
        steps = length - self.windows.length + model.train.shape[1]
        x, by_step = chain(
            model,
            BLOCK,
            steps,
            self.num_steps,
            generator,
            self._overlap,
            Phases.of(self.windows.starts, device=generator.device),
        )
        donors = majority(by_step)
        scales = self.preparation.scales[donors]
        return self.preparation.backward(x.cpu().numpy(), scales), donors

    def _entry(
        self, series: np.ndarray, donor: int, item_id: str, start: pd.Period | None
    ) -> DataEntry:
        windows = self.windows
        series, joined = np.split(series, [series.shape[1] - self.num_covariates], 1)
        target = series[:, 0] if windows.univariate else series.T
        features = {**windows.static, **windows.dynamic}
        entry = {
            FieldName.TARGET: np.ascontiguousarray(target),
            FieldName.START: windows.starts[donor] if start is None else start,
            FieldName.ITEM_ID: item_id,
            **{name: values[donor].copy() for name, values in features.items()},
        }
        if self.num_covariates:
            entry[DYNAMIC] = np.ascontiguousarray(joined.T)
        return entry
