import functools
import logging
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest
import torch
from gluonts.env import env
from torch.multiprocessing import ProcessExitedException

from gluonts_dualkl import devices, fabric
from gluonts_dualkl.devices import spread
from gluonts_dualkl.models.recombination import DualModel

two_processes = functools.partial(
    spread, accelerator="cpu", devices=2, strategy="ddp_fork"
)
needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no fork here"
)


@pytest.fixture
def recorded(monkeypatch):
    """What would be launched, ``(accelerator, world, start_method)``."""
    calls = []
    monkeypatch.setattr(
        fabric, "run_in_processes", lambda task, num, *how: calls.append(how)
    )
    return calls


def give_gpus(monkeypatch, number):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: number)


# arguments


@pytest.mark.parametrize("given", [0, -1, True, 2.0, "all", None])
def test_devices_must_be_a_count(given):
    with pytest.raises(ValueError, match="devices is .*; give a whole number"):
        spread(max, 3, "cpu", given)


@pytest.mark.parametrize("given", ["tpu", "cuda:1", "gpu"])
def test_several_devices_are_of_a_known_kind(given):
    with pytest.raises(ValueError, match=f"the device is '{given}' and devices is 2"):
        spread(max, 3, given, 2)


@pytest.mark.parametrize(
    ("gpus", "devices"), [(2, 3), (0, 2), (0, "auto")], ids=["few", "none", "auto"]
)
def test_no_more_gpus_than_there_are(monkeypatch, gpus, devices):
    give_gpus(monkeypatch, gpus)
    with pytest.raises(ValueError, match=f"is {devices!r} and there are {gpus} GPUs"):
        spread(max, 3, "cuda", devices)


@pytest.mark.parametrize("count", [1, 2])
def test_strategy_must_be_known(count):
    with pytest.raises(ValueError, match="strategy is 'ddp'; choose from auto, ddp_f"):
        spread(max, 3, "cpu", count, "ddp")


def test_fork_must_exist(monkeypatch):
    monkeypatch.setattr(devices, "get_all_start_methods", lambda: ["spawn"])
    with pytest.raises(ValueError, match="'ddp_fork' needs fork, which"):
        spread(max, 3, "cpu", 2, "ddp_fork")


def test_no_spawn_in_a_session(monkeypatch):
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(ValueError, match="use strategy='ddp_notebook'"):
        spread(max, 3, "cpu", 2, "ddp_spawn")


def test_no_copies_of_a_process_that_used_a_gpu(monkeypatch):
    give_gpus(monkeypatch, 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="this process has used a GPU"):
        spread(max, 3, "cuda", 2, "ddp_notebook")


# what is launched


@pytest.mark.parametrize(
    ("gpus", "platform", "session", "accelerator", "expected"),
    [
        (0, "linux", False, "auto", ("cpu", 2, "fork")),
        (0, "linux", True, "auto", ("cpu", 2, "fork")),
        (0, "darwin", False, "auto", ("cpu", 2, "spawn")),
        (3, "linux", False, "auto", ("cuda", 2, "spawn")),
        (3, "linux", True, "cuda", ("cuda", 2, "fork")),
        (3, "linux", False, "cpu", ("cpu", 2, "spawn")),
    ],
)
@needs_fork
def test_auto_chooses(
    monkeypatch, recorded, gpus, platform, session, accelerator, expected
):
    give_gpus(monkeypatch, gpus)
    monkeypatch.setattr(sys, "platform", platform)
    if session:
        monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    spread(max, 5, accelerator, 2)
    assert recorded == [expected]


def test_auto_takes_all_gpus_and_no_more_than_tasks(monkeypatch, recorded):
    give_gpus(monkeypatch, 3)
    spread(max, 5, "auto", "auto", "ddp_spawn")
    spread(max, 2, "auto", "auto", "ddp_spawn")
    assert recorded == [("cuda", 3, "spawn"), ("cuda", 2, "spawn")]


@pytest.mark.parametrize(("num_tasks", "count"), [(3, 1), (3, "auto"), (1, 2), (0, 2)])
def test_a_loop_here_without_fabric(monkeypatch, num_tasks, count):
    monkeypatch.setitem(sys.modules, "gluonts_dualkl.fabric", None)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    monkeypatch.setattr(devices, "get_all_start_methods", lambda: ["spawn"])

    def task(k, device):
        return k, device, os.getpid(), torch.get_num_threads()

    before = torch.get_num_threads()
    expected = (torch.device("cpu"), os.getpid(), 1)
    found = spread(task, num_tasks, "cpu", count)
    assert found == [(k, *expected) for k in range(num_tasks)]
    assert torch.get_num_threads() == before


# processes


def seeded(k, device):
    """More than a pipe holds, with where it was made."""
    generator = torch.Generator(device).manual_seed(k)
    x = torch.randn(300, 300, generator=generator, device=device)
    return {"x": x @ x, "place": (os.getpid(), torch.get_num_threads())}


@needs_fork
def test_two_processes_share_the_tasks_and_give_the_same(monkeypatch, capfd):
    for name in fabric.CLUSTER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "head.of.some.cluster")
    monkeypatch.setenv("LOCAL_RANK", "5")
    before = dict(os.environ)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)  # with a pool of threads, which a fork does not copy
    torch.randn(500, 500) @ torch.randn(500, 500)
    torch.set_num_threads(threads)
    found = two_processes(seeded, 5)
    assert dict(os.environ) == before
    shown = capfd.readouterr().err
    assert "5/5" in shown and "Training: 100%" in shown
    assert shown.count("0/5") == 1, "one bar for all"
    assert "distributed" not in shown
    for result, alone in zip(found, spread(seeded, 5, "cpu")):
        assert torch.equal(result["x"], alone["x"])
    places = [result["place"] for result in found]
    assert len(set(places)) == 2 and (os.getpid(), 1) not in places
    assert places[0::2] == [places[0]] * 3 and places[1::2] == [places[1]] * 2
    assert {count for _, count in places} == {1}


def sines(num_series, seed):
    """Sines of random phase, of which the learned legs find something."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (num_series, 1, 1)) + np.arange(2)
    x = np.sin(phase + np.arange(12)[:, None])
    return x + 0.1 * rng.standard_normal(x.shape)


def fit(k, device):
    generator = torch.Generator(device).manual_seed(k)
    return DualModel.fit(sines(24, 0), generator, num_walkers=80, max_rounds=2)


@needs_fork
def test_fits_are_the_same_in_processes():
    values = sines(10, 1)
    several, alone = two_processes(fit, 2), spread(fit, 2, "cpu")
    for a, b in zip(several, alone):
        for name, ratio in a.log_ratio(values).items():
            assert torch.equal(ratio, b.log_ratio(values)[name]), name
        draws = [m.draw(6, 3, torch.Generator().manual_seed(0)) for m in (a, b)]
        assert torch.equal(draws[0].z, draws[1].z)
    ratios = [model.log_ratio(values)["data"] for model in several]
    assert not torch.equal(*ratios), "fits differ by their seed"


@needs_fork
def test_no_bar_where_none_is_wanted(capfd):
    with env._let(use_tqdm=False):
        assert two_processes(divmod_of_five, 3) == [(5, 0), (2, 1), (1, 2)]
    assert capfd.readouterr().err == ""


def divmod_of_five(k, device):
    return divmod(5, k + 1)


class Unsendable(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def fails(k, device, error):
    if k == 1:
        raise error
    time.sleep(0.2)
    return k


@needs_fork
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("N is 3; give more."), ValueError, r"^N is 3; give more\.$"),
        (Unsendable("a", "b"), RuntimeError, "^Unsendable: a and b$"),
        (SystemExit(3), RuntimeError, "training stopped because process 1 .* code 3"),
    ],
    ids=["itself", "unsendable", "exit"],
)
def test_errors_come_through(error, kind, message):
    task = functools.partial(fails, error=error)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    with pytest.raises(kind, match=message) as caught:
        two_processes(task, 4)
    assert type(caught.value) is kind
    if not isinstance(error, SystemExit):
        assert "in fails" in str(caught.value.__cause__), "the traceback there"
    assert not ours_still_running()


def test_processes_that_never_began_name_the_guard(tmp_path):
    ended = ProcessExitedException("process 0 ended", 0, 1, 1)
    assert "__main__" in str(fabric._reason(tmp_path, ended))
    (tmp_path / "0.begun").touch()
    assert "because process 0 ended" in str(fabric._reason(tmp_path, ended))


def ours_still_running():
    """Children of this process but for the pool that other tests leave to joblib."""
    children = multiprocessing.active_children()
    return [child for child in children if not child.name.startswith("Loky")]


def sleeps(k, device, folder):
    (folder / str(os.getpid())).touch()
    time.sleep(60)


def interrupted(folder):
    # jobs in the background of a shell ignore the interrupt
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        two_processes(functools.partial(sleeps, folder=folder), 2)
    except KeyboardInterrupt:
        os._exit(7)


@needs_fork
def test_an_interrupt_ends_all_processes(tmp_path):
    caller = multiprocessing.get_context("fork").Process(
        target=interrupted, args=(tmp_path,)
    )
    caller.start()
    end = time.monotonic() + 30
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    os.kill(caller.pid, signal.SIGINT)  # to the caller alone
    caller.join(20)
    assert caller.exitcode == 7
    workers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(workers) == 2
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.slow
def test_fresh_processes():
    found = spread("fit {} on {}".format, 3, "cpu", 2, "ddp_spawn")
    assert found == [f"fit {k} on cpu" for k in range(3)]


def test_results_stay_in_order():
    assert np.array_equal(spread(lambda k, device: k, 12, "cpu"), np.arange(12))
