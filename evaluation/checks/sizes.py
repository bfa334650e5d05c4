"""How time and memory grow with the number, the length and the width of series.

``python -m gluonts_dualkl.evaluation.checks.sizes --out FILE`` fits and draws series of
a vector autoregression at each of :data:`SIZES`, writes a row each to a CSV file at
once, and goes on where it stopped. Every number comes from a process of its own, so
that no peak hides another:

- ``memory_start_mb``: the library imported, nothing done;
- ``seconds_fit``, ``memory_fit_mb``: one fit, ``DualKLEstimator.fit_model``, on all
  series; or, in rows whose ``way`` is ``"train"``, the estimator reading a one-shot
  generator of entries, with two folds, which makes three fits;
- ``seconds_sample``: of 1,000 series kept in memory, scaled up from ``drawn`` of them;
  ``memory_sample_mb``: with ``drawn`` series kept;
- ``memory_1000_mb``, ``memory_5000_mb``: that many series drawn and dropped block by
  block. They must agree; left out where a series has more than
  :data:`STREAM_PIXELS` pixels.

Seconds are of the processor, one thread, since machines are shared. Memory is the peak
of the resident set. A part that needs more than ``--limit`` seconds is stopped and its
numbers are left empty, but for the memory up to there; ``stopped`` names it.
"""

from __future__ import annotations

import argparse
import json
import math
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from gluonts_dualkl.evaluation.checks.rows import grow_table, quiet_library

__all__ = ["SIZES", "entries", "main", "measure", "peak_memory", "run_sizes", "series"]

Size = tuple[int, int, int]

SIZES: tuple[tuple[Size, str], ...] = (
    ((20, 24, 5), "model"),
    ((200, 24, 5), "model"),
    ((1000, 24, 5), "model"),
    ((4000, 24, 5), "model"),
    ((200, 24, 5), "train"),
    ((100_000, 24, 5), "train"),
    ((200, 200, 5), "model"),
    ((200, 1000, 5), "model"),
    ((200, 24, 100), "model"),
    ((200, 100, 100), "model"),
    ((50, 1000, 100), "model"),
)
BLOCK, NUM_STEPS = 256, 20
NUM_DRAWN, STREAMED = 1000, (1000, 5000)
DRAWN_PIXELS, STREAM_PIXELS, MADE_PIXELS = 6_000_000, 1500, 1_000_000
PHI, NEXT, COMMON = 0.7, 0.15, 0.4
BURN_IN = 30


class _OutOfTime(Exception):
    """The processor seconds of a part are used up."""


def entries(size: Size, seed: int = 0) -> Iterator[np.ndarray]:
    """Series ``(T, C)`` of a vector autoregression, one at a time, float32.

    ``x_t = A x_{t-1} + e_t`` with 0.7 on the diagonal of ``A`` and 0.15 above it,
    innovations of unit variance that correlate by 0.4, and a log-normal scale of the
    innovations by series, so that series are not Gaussian.
    """
    rng = np.random.default_rng(seed)
    rows = max(1, min(BLOCK, MADE_PIXELS // (size[1] * size[2])))
    for done in range(0, size[0], rows):
        yield from _autoregression((rows, *size[1:]), rng)[: size[0] - done]


def _autoregression(size: Size, rng: np.random.Generator) -> np.ndarray:
    count, length, channels = size
    shape = (count, BURN_IN + length, channels)
    noise = math.sqrt(1 - COMMON) * rng.standard_normal(shape, np.float32)
    noise += math.sqrt(COMMON) * rng.standard_normal((*shape[:2], 1), np.float32)
    noise *= np.exp(0.5 * rng.standard_normal((count, 1, 1), np.float32))
    x = noise
    for t in range(1, shape[1]):
        x[:, t] += PHI * x[:, t - 1]
        x[:, t, :-1] += NEXT * x[:, t - 1, 1:]
    return x[:, BURN_IN:]


def series(size: Size, seed: int = 0) -> np.ndarray:
    """The series of :func:`entries` as an array ``(N, T, C)``."""
    values = np.empty(size, np.float32)
    for row, x in enumerate(entries(size, seed)):
        values[row] = x
    return values


def peak_memory() -> float:
    """Peak of this process's resident set, megabytes (2^20 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    scale = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _fit_model(size: Size) -> Any:
    from gluonts_dualkl import DualKLEstimator

    return DualKLEstimator(device="cpu").fit_model(series(size))


def _train(size: Size) -> Any:
    from gluonts.env import env

    from gluonts_dualkl import DualKLEstimator

    start = pd.Period("2000-01-01", "h")
    read = ({"start": start, "target": x.T} for x in entries(size))
    with env._let(use_tqdm=False):
        return DualKLEstimator(device="cpu", num_folds=2).train(read)


FITS: dict[str, Callable[[Size], Any]] = {"model": _fit_model, "train": _train}


def _draw(fitted: Any, count: int) -> Iterator[np.ndarray]:
    """``count`` series of a fitted model or generator in original units, by blocks."""
    if hasattr(fitted, "generate"):
        for entry in fitted.generate(count):
            yield entry["target"][None]
        return
    source = torch.Generator().manual_seed(0)
    for done in range(0, count, BLOCK):
        rows = min(BLOCK, count - done)
        z = fitted.draw(rows, NUM_STEPS, source).z
        yield fitted.marginals.from_normal(z).numpy()


def measure(part: str, size: Size, way: str, folder: Path, count: int) -> None:
    """Do one part of a row: ``"start"``, ``"fit"``, ``"sample"`` or ``"stream"``.

    What ``"fit"`` finds is kept in ``folder`` for the others.
    """
    import gluonts_dualkl.estimator  # noqa: F401  the library's own memory, in all

    path = folder / "fitted.pickle"
    if part == "fit":
        path.write_bytes(pickle.dumps(FITS[way](size)))
    elif part in ("sample", "stream"):
        fitted = pickle.loads(path.read_bytes())
        kept = []
        for block in _draw(fitted, count):
            if part == "sample":
                kept.append(block)


def _report(given: argparse.Namespace) -> None:
    """Run :func:`measure` under a limit and print its numbers as JSON."""

    def stop(*_: object) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, given.limit)
    torch.set_num_threads(1)
    size = _size(given.size)
    began, finished = time.process_time(), True
    try:
        with quiet_library():
            measure(given.part, size, given.way, given.folder, given.count)
    except _OutOfTime:
        finished = False
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    seconds = time.process_time() - began if finished else math.nan
    found = {"seconds": seconds, "memory": peak_memory(), "finished": finished}
    print(json.dumps(found))


def _in_process(
    part: str, size: Size, way: str, folder: Path, limit: float, count: int = 0
) -> dict[str, Any]:
    """:func:`_report` in a fresh process."""
    command = [sys.executable, "-m", "gluonts_dualkl.evaluation.checks.sizes"]
    options = {
        "part": part,
        "size": ",".join(map(str, size)),
        "way": way,
        "folder": folder,
        "limit": limit,
        "count": count,
    }
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{part} at {size} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_sizes(
    path: Path, sizes: Sequence[tuple[Size, str]], limit: float
) -> Iterator[pd.DataFrame]:
    """Measure what the table at ``path`` lacks; yields it after each row."""
    names = ("series", "steps", "channels")
    keys = [{**dict(zip(names, size)), "way": way} for size, way in sizes]

    def compute(series: int, steps: int, channels: int, way: str) -> dict[str, Any]:
        return _row((series, steps, channels), way, limit)

    yield from grow_table(path, keys, compute)


def _row(size: Size, way: str, limit: float) -> dict[str, Any]:
    pixels = size[1] * size[2]
    drawn = min(NUM_DRAWN, max(8, DRAWN_PIXELS // pixels))
    plan = [("start", 0), ("fit", 0), ("sample", drawn)]
    plan += [("stream", n) for n in STREAMED if pixels <= STREAM_PIXELS]
    found: dict[tuple[str, int], dict[str, Any]] = {}
    stopped = ""
    with tempfile.TemporaryDirectory() as folder:
        for part, count in plan:
            result = _in_process(part, size, way, Path(folder), limit, count)
            found[part, count] = result
            if not result["finished"]:
                stopped = f"{part} {count}".removesuffix(" 0")
                if part == "fit":
                    break

    def get(part: str, count: int, name: str) -> float:
        return found.get((part, count), {}).get(name, math.nan)

    sample = get("sample", drawn, "seconds")
    return {
        "memory_start_mb": get("start", 0, "memory"),
        "seconds_fit": get("fit", 0, "seconds"),
        "memory_fit_mb": get("fit", 0, "memory"),
        "drawn": drawn,
        "seconds_sample": sample * NUM_DRAWN / drawn,
        "memory_sample_mb": get("sample", drawn, "memory"),
        **{f"memory_{n}_mb": get("stream", n, "memory") for n in STREAMED},
        "stopped": stopped,
    }


def _size(text: str) -> Size:
    numbers = text.split(",")
    if len(numbers) != 3 or not all(n.isdecimal() and int(n) for n in numbers):
        raise SystemExit(f"size {text!r} is not three whole numbers, as in 200,24,5.")
    count, length, channels = map(int, numbers)
    return count, length, channels


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see the head of the module."""
    parser = argparse.ArgumentParser(description="Time and memory by size of the data.")
    parser.add_argument("--out", type=Path, help="CSV file to write or go on with")
    parser.add_argument("--limit", type=float, default=240, help="seconds of a part")
    parser.add_argument("--only", nargs="+", help="sizes such as 200,24,5 to run")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--size", help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=FITS, help="rows of this way alone")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.part:
        _report(given)
        return
    if given.out is None:
        parser.error("--out is missing; name the CSV file to write")
    sizes = [(size, way) for size, way in SIZES if given.way in (None, way)]
    if given.only:
        wanted = [_size(text) for text in given.only]
        known = [size for size, _ in sizes]
        sizes = [row for row in sizes if row[0] in wanted]
        sizes += [(size, given.way or "model") for size in wanted if size not in known]
    for table in run_sizes(given.out, sizes, given.limit):
        print(table.iloc[[-1]].round(1).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
