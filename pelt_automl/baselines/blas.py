"""Linear algebra on one thread: the matrices are small, and on a busy machine threads that wait for each other take ten times as long."""

from typing import Any


def one_blas_thread() -> Any:
    """A context manager: NumPy's and SciPy's linear algebra on one thread. Torch's passes of the backbone keep their threads."""
    import scipy.linalg  # noqa: F401 its BLAS is another one than NumPy's, and what isn't loaded isn't limited
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
