"""Linear algebra on one thread: the matrices are small, and on a busy machine threads that wait for each other take ten times as long."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's and SciPy's linear algebra on one thread as long as the block lasts. Torch's passes of the backbone keep their threads."""
    import scipy.linalg  # noqa: F401 its BLAS is another one than NumPy's, and what isn't loaded isn't limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
