"""Independent fits in this process, or in several, each on its own device.

Cross-fitting makes ``num_folds + 1`` fits that share nothing but the data, so a fit is
the unit that is sent to a device: of ``D`` processes the one of rank ``r`` computes the
fits ``r, r + D, r + 2 D, ...``. Every fit has its own seed and runs on one thread, so
the results do not depend, to the last bit, on how many processes there are; on GPUs
this holds between GPUs of one kind. The spreading of whole fits is our construction.

Processes are started by Lightning Fabric, by ``strategy``:

``"ddp_fork"``
    Copies of this process; works in any script and starts at once. Linux and macOS.
    Not for CUDA once this process has used a GPU.
``"ddp_spawn"``
    Fresh processes, which import everything anew (seconds each); needed for CUDA. The
    script must call from under ``if __name__ == "__main__":``, and tasks are pickled.
``"ddp_notebook"``
    The same as ``"ddp_fork"``, under Lightning's name for it; the only way in a
    notebook. With GPUs restart the kernel first, and do not touch a GPU before.
``"auto"``
    ``"ddp_notebook"`` in an interactive session; ``"ddp_fork"`` on Linux without GPUs;
    else ``"ddp_spawn"``.

Lightning's ``"ddp"`` is not offered: it runs the whole script once a process, and all
that follows the training would be done several times.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import get_all_start_methods
from typing import Literal, TypeVar

import numpy as np
import torch
from gluonts.gluonts_tqdm import tqdm

from gluonts_dualkl.threads import single_threaded

__all__ = [
    "ACCELERATORS",
    "STRATEGIES",
    "StartMethod",
    "resolve_device",
    "seeded_generator",
    "spread",
]

ACCELERATORS = ("auto", "cpu", "cuda")

Result = TypeVar("Result")
StartMethod = Literal["fork", "spawn"]

STRATEGIES: dict[str, StartMethod] = {
    "ddp_fork": "fork",
    "ddp_spawn": "spawn",
    "ddp_notebook": "fork",
}


def resolve_device(device: str | torch.device | None) -> torch.device:
    """``"auto"`` and ``None`` take CUDA where there is one, else the CPU."""
    if device is None or str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def seeded_generator(device: torch.device, seed: int, number: int) -> torch.Generator:
    """Source of randomness of part ``number``, a fit or a block, under ``seed``."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state >> np.uint64(1)))


def spread(
    task: Callable[[int, torch.device], Result],
    num_tasks: int,
    accelerator: str | torch.device = "auto",
    devices: int | str = 1,
    strategy: str = "auto",
) -> list[Result]:
    """Results of ``task(k, device)`` for ``k = 0, ..., num_tasks - 1``, in order.

    Parameters
    ----------
    task
        Computes result ``k`` on a device from ``k`` alone, without changing what it
        holds. Results of several processes, and tasks of ``"ddp_spawn"``, are pickled.
    num_tasks
        Number of tasks.
    accelerator
        ``"auto"`` (CUDA where there is one), ``"cpu"`` or ``"cuda"``; with one device
        also a single GPU such as ``"cuda:1"``.
    devices
        Number of processes, each with a GPU of its own under CUDA; ``"auto"`` takes all
        GPUs, and one process on the CPU. One is a loop in this process, without
        Fabric; more than ``num_tasks`` are not started.
    strategy
        How processes are started, see the module: ``"auto"`` or a name in
        :data:`STRATEGIES`.

    Returns
    -------
    The results, their tensors on the CPU or on the first GPU as if computed here.

    Raises
    ------
    ValueError
        For arguments outside their range, or more GPUs than there are.
    RuntimeError
        If a process ends before its tasks are done, or if it cannot begin.
    Exception
        What a task raises comes through with its type and message; the traceback in
        the process is its cause.
    """
    world = min(_num_devices(accelerator, devices), num_tasks)
    if strategy != "auto" and strategy not in STRATEGIES:
        raise ValueError(
            f"strategy is {strategy!r}; choose from auto, {', '.join(STRATEGIES)}."
        )
    if world > 1:
        # loaded only when wanted: the import takes a second
        from gluonts_dualkl.fabric import run_in_processes

        kind = "cuda" if _is_cuda(accelerator) else "cpu"
        method = _start_method(strategy)
        return run_in_processes(task, num_tasks, kind, world, method)
    device = resolve_device(accelerator)
    with single_threaded():
        fits = tqdm(range(num_tasks), desc="Training", unit="fit")
        return [task(k, device) for k in fits]


def _is_cuda(accelerator: str | torch.device) -> bool:
    # counted without CUDA itself, of which forked processes could not make use any more
    if str(accelerator) == "auto":
        return torch.cuda.device_count() > 0
    return str(accelerator) == "cuda"


def _num_devices(accelerator: str | torch.device, devices: int | str) -> int:
    number = isinstance(devices, int) and not isinstance(devices, bool)
    if not (number and int(devices) >= 1 or devices == "auto"):
        raise ValueError(
            f"devices is {devices!r}; give a whole number of at least 1, or 'auto' for "
            "all GPUs."
        )
    if devices == 1:
        return 1
    if str(accelerator) not in ACCELERATORS:
        raise ValueError(
            f"the device is {str(accelerator)!r} and devices is {devices!r}; with more "
            f"than one device choose from {', '.join(ACCELERATORS)}."
        )
    if not _is_cuda(accelerator):
        return 1 if devices == "auto" else int(devices)
    available = torch.cuda.device_count()
    if devices == "auto" and available:
        return available
    if devices == "auto" or int(devices) > available:
        raise ValueError(
            f"devices is {devices!r} and there are {available} GPUs; give at most "
            f"{available}, or processes of the CPU with device='cpu'."
        )
    return int(devices)


def _start_method(strategy: str) -> StartMethod:
    interactive = hasattr(sys, "ps1")
    if strategy == "auto":
        # a GPU that is only there suffices for torch to refuse gradients after a fork
        quick = sys.platform == "linux" and not torch.cuda.device_count()
        method: StartMethod = "fork" if interactive or quick else "spawn"
    else:
        method = STRATEGIES[strategy]
    if method not in get_all_start_methods():
        raise ValueError(
            f"strategy {strategy!r} needs fork, which {sys.platform} does not have; "
            "run a script with strategy='ddp_spawn', or use devices=1."
        )
    if interactive and method == "spawn":
        raise ValueError(
            f"strategy is {strategy!r}, which does not work in an interactive session; "
            "use strategy='ddp_notebook', or run a script."
        )
    return method
