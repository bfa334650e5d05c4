"""Where the cells of a benchmark are computed: processes here, or a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BACKENDS", "check_backend", "one_thread", "running_backend"]

BACKENDS = ("loky", "dask", "ray")


def check_backend(backend: str, jobs: int, scheduler: str | None) -> None:
    """Raise a ``ValueError`` for what :func:`running_backend` cannot serve."""
    if backend not in BACKENDS:
        raise ValueError(f"no backend {backend!r}, choose from {', '.join(BACKENDS)}")
    if jobs < 1:
        raise ValueError(f"jobs: {jobs}, expected 1 or more")
    if scheduler is not None and backend == "loky":
        raise ValueError("a scheduler address is for the backends dask and ray")


@contextmanager
def running_backend(
    backend: str = "loky", jobs: int = 1, scheduler: str | None = None
) -> Iterator[None]:
    """Let joblib compute on a backend while the block runs.

    Parameters
    ----------
    backend
        ``"loky"``: ``jobs`` processes of this machine. ``"dask"``: a dask.distributed
        cluster, from the extra ``cluster``. ``"ray"``: a ray cluster; ray is not among
        the extras because it does not exist for every Python.
    jobs
        Number of processes, or of local workers where no scheduler is named.
    scheduler
        Address of a running cluster: ``tcp://host:8786`` for dask, ``auto`` or
        ``ray://host:10001`` for ray. By default a local cluster is started and stopped.

    Notes
    -----
    On a cluster of several machines each needs this package and the results folder
    under one path, because the workers write their cells themselves. The data are sent
    along and need not be there.
    """
    check_backend(backend, jobs, scheduler)
    start = {"loky": _loky, "dask": _dask, "ray": _ray}[backend]
    with start(jobs, scheduler):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Arithmetic on one thread, so that results do not depend on cores or jobs."""
    from threadpoolctl import threadpool_limits

    from gluonts_dualkl.threads import single_threaded

    with threadpool_limits(1), single_threaded():
        yield


@contextmanager
def _loky(jobs: int, scheduler: str | None) -> Iterator[None]:
    from joblib import parallel_config

    # arrays are sent, not mapped from temporary files that a kill would leave behind
    with parallel_config(
        backend="loky", n_jobs=jobs, max_nbytes=None, inner_max_num_threads=1
    ):
        yield


@contextmanager
def _dask(jobs: int, scheduler: str | None) -> Iterator[None]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ImportError(
            "the backend dask needs dask.distributed: "
            "pip install 'gluonts-dualkl[cluster]'"
        ) from error
    from joblib import parallel_config

    if scheduler is not None:
        with Client(scheduler), parallel_config(backend="dask", n_jobs=-1):
            yield
        return
    with (
        LocalCluster(
            n_workers=jobs, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        Client(cluster),
        parallel_config(backend="dask", n_jobs=jobs),
    ):
        yield


@contextmanager
def _ray(jobs: int, scheduler: str | None) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ImportError("the backend ray needs ray: pip install ray") from error
    from joblib import parallel_config

    if scheduler is None:
        ray.init(num_cpus=jobs)
    else:
        ray.init(address=scheduler)
    register_ray()
    try:
        with parallel_config(backend="ray", n_jobs=-1 if scheduler else jobs):
            yield
    finally:
        ray.shutdown()
