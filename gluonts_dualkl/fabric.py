"""Tasks in several processes, started by Lightning Fabric; see :mod:`.devices`.

Results and errors come back as files in a temporary folder. Fabric's own way back is a
pipe that is read only after all processes have ended, so that any result of more than
64 KiB would wait for ever, and it passes on the text of an error but not the error. The
process group that Fabric makes is not used: fits have nothing to tell each other.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gluonts.env import env
from gluonts.gluonts_tqdm import tqdm
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.strategies import DDPStrategy
from lightning_utilities.core import rank_zero
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from gluonts_dualkl.devices import StartMethod
from gluonts_dualkl.threads import single_threaded

__all__ = ["run_in_processes"]

INTERRUPTED = 130
POLL_SECONDS = 0.1
CLUSTER = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK")


def run_in_processes(
    task: Callable[[int, torch.device], Any],
    num_tasks: int,
    accelerator: str,
    world: int,
    start_method: StartMethod,
) -> list[Any]:
    """Results of ``task(k, device)`` for all ``k`` in order, from ``world`` processes.

    Parameters
    ----------
    task, num_tasks
        See :func:`~gluonts_dualkl.devices.spread`, which checks the arguments.
    accelerator
        ``"cpu"`` or ``"cuda"``.
    world
        Number of processes, at most ``num_tasks``.
    start_method
        ``"fork"`` or ``"spawn"``.
    """
    if accelerator == "cuda" and start_method == "fork" and torch.cuda.is_initialized():
        raise RuntimeError(
            "this process has used a GPU and cannot be copied any more; run a script "
            "with strategy='ddp_spawn', or restart the kernel and train first."
        )
    with TemporaryDirectory(prefix="dualkl-") as name, _one_machine(), _own_children():
        work = partial(
            _work, task=task, num_tasks=num_tasks, folder=Path(name), show=env.use_tqdm
        )
        fabric = Fabric(
            accelerator=accelerator,
            devices=world,
            strategy=QuietDDP(start_method=start_method),
            plugins=[LightningEnvironment()],
        )
        try:
            fabric.launch(work)
        except (ProcessExitedException, ProcessRaisedException) as error:
            raise _reason(Path(name), error) from error
        return [
            torch.load(_file(Path(name), k), accelerator, weights_only=False)
            for k in range(num_tasks)
        ]


class QuietDDP(DDPStrategy):
    """Fabric's strategy of one process a device, without its announcements."""

    def setup_environment(self) -> None:
        """Make this process one of the group."""
        # whichever package of Lightning was imported last has put its logger there
        rank_zero.log.setLevel(logging.WARNING)
        super().setup_environment()


def _work(
    fabric: Fabric,
    task: Callable[[int, torch.device], Any],
    num_tasks: int,
    folder: Path,
    show: bool,
) -> None:
    """The share of one process; that of rank 0 shows what all have finished."""
    rank = fabric.global_rank
    (folder / f"{rank}.begun").touch()
    try:
        with (
            single_threaded(),
            env._let(use_tqdm=show and rank == 0),
            tqdm(None, total=num_tasks, desc="Training", unit="fit") as bar,
        ):
            for k in range(rank, num_tasks, fabric.world_size):
                _compute(task, k, fabric.device, folder)
                _advance(bar, folder)
            while rank == 0 and _advance(bar, folder) < num_tasks:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _advance(bar: Any, folder: Path) -> int:
    done = len(list(folder.glob("*.result")))
    bar.update(done - bar.n)
    return done


def _compute(
    task: Callable[[int, torch.device], Any],
    k: int,
    device: torch.device,
    folder: Path,
) -> None:
    part = folder / f"{k}.part"  # renamed when whole
    try:
        torch.save(task(k, device), part)
    except Exception as error:
        part.write_bytes(_pickled(error))
        part.rename(folder / f"{k}.error")
        raise
    part.rename(_file(folder, k))


def _file(folder: Path, k: int) -> Path:
    return folder / f"{k}.result"


def _pickled(error: Exception) -> bytes:
    """The error, or a ``RuntimeError`` with its text if it cannot be sent."""
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return content


def _reason(folder: Path, error: Exception) -> Exception:
    """What ended the processes: the error of the first task that has one."""
    errors = sorted(folder.glob("*.error"), key=lambda path: int(path.stem))
    if errors:
        return pickle.loads(errors[0].read_bytes())
    if any(folder.glob("*.begun")):
        return RuntimeError(
            f"training stopped because {error}; if memory ran out, use fewer devices."
        )
    return RuntimeError(
        "the processes ended before they began. A script that trains on several "
        'devices must do so under `if __name__ == "__main__":`, or with '
        "strategy='ddp_fork' on a machine without GPUs."
    )


@contextmanager
def _one_machine() -> Iterator[None]:
    """Hide what a cluster says about its own processes, and what Fabric leaves."""
    kept = {name: os.environ.pop(name) for name in CLUSTER if name in os.environ}
    try:
        yield
    finally:
        for name in CLUSTER:
            os.environ.pop(name, None)
        os.environ.update(kept)


@contextmanager
def _own_children() -> Iterator[None]:
    """End the processes that were started inside if anything goes wrong there."""
    others = set(multiprocessing.active_children())
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of forks beside threads; the copies use one thread
            warnings.filterwarnings("ignore", ".*multi-threaded.*", DeprecationWarning)
            yield
    except BaseException:
        children = set(multiprocessing.active_children()) - others
        for child in children:
            child.kill()
        for child in children:
            child.join()
        raise
