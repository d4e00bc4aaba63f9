"""How many threads the libraries of a child may use; every function that runs in a child calls this first."""

from __future__ import annotations

import os
import sys

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def use_threads(count: int) -> None:
    """Hold OpenMP, BLAS, Arrow and torch to `count` threads. Call it before numpy is imported, which reads them then.

    One thread a model is the rule: on few and busy cores more made LightGBM four to eight times slower, since each
    waits for the others at thousands of short parallel regions.
    """
    for name in _VARIABLES:
        os.environ[name] = str(max(1, count))  # noqa: TID251 - the libraries read it when they are loaded
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # noqa: TID251 - as above
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, count))
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].set_cpu_count(max(1, count))
