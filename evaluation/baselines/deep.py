"""What the deep baselines share: scaling, training with early stopping, saving.

A deep baseline is a file with a subclass of :class:`DeepBaseline` that says three
things: its network, the phases it is trained in, and how a trained network generates.
Everything random inside draws from torch's global generator, which is seeded for the
call and put back after it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from gluonts_dualkl.evaluation.baselines.base import STATE, Baseline
from gluonts_dualkl.threads import single_threaded

__all__ = ["DeepBaseline", "Phase", "moment_distance"]

_WEIGHTS = "network.pt"
_HELD_OUT = 0.15
_CHECKS = 40
_BLOCK = 256


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Attributes
    ----------
    name
        What is trained, for the trace.
    share
        Share of ``max_steps``, and of ``max_seconds`` where there is a limit.
    step
        One update from a batch ``(B, T, C)`` in scaled units.
    held_out
        Loss of held-out windows ``(M, T, C)``; the weights with the lowest are kept.
        None keeps the last.
    """

    name: str
    share: float
    step: Callable[[Tensor], Any]
    held_out: Callable[[Tensor], Tensor | float] | None = None


@dataclass(eq=False)
class DeepBaseline(Baseline):
    """A baseline that trains a network on scaled windows.

    Channels are brought to mean 0 and variance 1, or to [0, 1] where the class says
    ``scaling = "range"``. Early stopping looks at ``validation``, or at 15 % of the
    windows kept from training where there is none.

    Parameters
    ----------
    max_steps
        Most gradient steps, over all phases.
    max_seconds
        Most processor seconds of this process to train in, over all phases: a budget
        that costs the same for every network, and that other jobs on the machine do
        not shorten. None for no limit; with one, results depend on the machine.
    batch_size
        Windows in a step, drawn with replacement.
    learning_rate
        Of Adam.
    patience
        Checks of the held-out loss, of 40 a phase, without a new best that end it.
    seed
        Seed of weights and batches.
    device
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``.
    progress
        Whether to show a progress bar.
    """

    scaling: ClassVar[str] = "standard"

    max_steps: int = 2000
    max_seconds: float | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 10
    seed: int = 0
    device: str = "auto"
    progress: bool = False
    network: nn.Module | None = field(default=None, init=False, repr=False)
    trace: pd.DataFrame | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def _build(self, length: int, channels: int) -> nn.Module:
        """One module that holds all networks, untrained."""

    @abstractmethod
    def _phases(self, network: nn.Module) -> Sequence[Phase]:
        """What is trained, in order; made once before training, optimisers inside."""

    @abstractmethod
    def _generate(self, network: nn.Module, num_samples: int) -> Tensor:
        """Draw windows ``(n, T, C)`` in scaled units."""

    def _fit(self, windows: np.ndarray, validation: np.ndarray | None) -> None:
        self._offset, self._scale = _scaling(windows, self.scaling)
        with self._seeded(self.seed):
            fitted, held = self._divided(windows, validation)
            self.network = self._build(*windows.shape[1:]).to(self._device)
            self.network.train()
            phases = self._phases(self.network)
            rows = [row for phase in phases for row in self._run(phase, fitted, held)]
        self.network.eval()
        self.trace = pd.DataFrame(rows, columns=["phase", "step", "held_out"])

    def _sample(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        network = self._trained
        with self._seeded(int(rng.integers(2**62))), torch.no_grad():
            blocks = [
                self._generate(network, min(_BLOCK, num_samples - start))
                for start in range(0, num_samples, _BLOCK)
            ]
        z = torch.cat(blocks).double().cpu().numpy()
        return self._offset + self._scale * z

    @property
    def _trained(self) -> nn.Module:
        if self.network is None:
            raise ValueError(
                f"this {type(self).__name__} is not fitted; call fit first"
            )
        return self.network

    @property
    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Torch's global generator seeded, and as it was afterwards; one thread."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), single_threaded():
            torch.manual_seed(seed)
            yield

    def _scaled(self, windows: np.ndarray) -> Tensor:
        scaled = (windows - self._offset) / self._scale
        return torch.as_tensor(scaled, dtype=torch.float32, device=self._device)

    def _divided(
        self, windows: np.ndarray, validation: np.ndarray | None
    ) -> tuple[Tensor, Tensor]:
        """Windows to train on and windows to stop by, scaled."""
        z = self._scaled(windows)
        if validation is not None:
            return z, self._scaled(validation)
        num = max(2, round(_HELD_OUT * len(z)))
        order = torch.randperm(len(z), device=z.device)
        return z[order[num:]], z[order[:num]]

    def _run(
        self, phase: Phase, fitted: Tensor, held: Tensor
    ) -> Iterator[tuple[str, int, float]]:
        """Train a phase, keep its best weights; yields the trace."""
        network = self._trained
        steps = max(1, round(phase.share * self.max_steps))
        limit = phase.share * (self.max_seconds or np.inf)
        begin = process_time()
        every = max(1, steps // _CHECKS)
        best, kept, waited = np.inf, None, 0
        title = f"{type(self).__name__} {phase.name}"
        for step in tqdm(range(1, steps + 1), title, disable=not self.progress):
            rows = torch.randint(len(fitted), (self.batch_size,), device=fitted.device)
            phase.step(fitted[rows])
            late = process_time() - begin > limit
            if late and phase.held_out is None:
                break
            if phase.held_out is None or (step % every and step < steps and not late):
                continue
            loss = self._held_out_loss(phase.held_out, network, held)
            yield phase.name, step, loss
            if loss < best:
                best, waited = loss, 0
                kept = {k: v.clone() for k, v in network.state_dict().items()}
            else:
                waited += 1
            if late or waited > self.patience:
                break
        if kept is not None:
            network.load_state_dict(kept)

    def _held_out_loss(
        self,
        loss: Callable[[Tensor], Tensor | float],
        network: nn.Module,
        held: Tensor,
    ) -> float:
        """Held-out loss under the same noise at every check."""
        network.eval()
        with self._seeded(self.seed + 1), torch.no_grad():
            value = float(loss(held))
        network.train()
        return value if np.isfinite(value) else np.inf

    def _save(self, folder: Path) -> None:
        super()._save(folder)
        weights = {k: v.cpu() for k, v in self._trained.state_dict().items()}
        torch.save(weights, folder / _WEIGHTS)

    def _load(self, folder: Path) -> None:
        with np.load(folder / STATE, allow_pickle=False) as state:
            self.windows, self.validation = state["windows"], state.get("validation")
        self._offset, self._scale = _scaling(self._train, self.scaling)
        with self._seeded(self.seed):
            network = self._build(*self._train.shape[1:]).to(self._device)
        weights = torch.load(
            folder / _WEIGHTS, map_location=self._device, weights_only=True
        )
        network.load_state_dict(weights)
        self.network = network.eval()


def _scaling(windows: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Offset and scale by channel, ``(C,)`` each."""
    low, high = windows.min((0, 1)), windows.max((0, 1))
    spread = high - low if kind == "range" else windows.std((0, 1))
    offset = low if kind == "range" else windows.mean((0, 1))
    return offset, np.where(high > low, spread, 1.0)


def moment_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Kernel distance MMD^2 of windows, for models without a likelihood, ``()``.

    Biased V-statistic with a Gaussian kernel on flattened windows, bandwidth the median
    distance between the real ones (Gretton et al. 2012).
    """
    a, b = real.flatten(1), synthetic.flatten(1)
    within = torch.cdist(a, a)
    width = within[within > 0].median().square() if len(a) > 1 else within.new_ones(())

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(x, y).square() / width).mean()

    return kernel(a, a) + kernel(b, b) - 2 * kernel(a, b)
