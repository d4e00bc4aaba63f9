"""How many threads the libraries of a child may use; every function that runs in a child calls this first."""

from __future__ import annotations

import os
import sys

from gyropilot.problems.contract import Json

_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_WAIT_POLICY = "OMP_WAIT_POLICY"


def use_threads(count: int) -> None:
    """Hold OpenMP, BLAS, Arrow and torch to `count` threads. Call it before numpy is imported, which reads them then.

    One thread a model is the rule, and models side by side: see docs/adr/0011. Where a library makes threads of its own
    all the same, they wait without computing: others have use for the cores.
    """
    for name in _VARIABLES:
        os.environ[name] = str(max(1, count))  # noqa: TID251 - the libraries read it when they are loaded
    os.environ[_WAIT_POLICY] = "passive"  # noqa: TID251 - as above
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # noqa: TID251 - as above
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(max(1, count))
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].set_cpu_count(max(1, count))


def told() -> dict[str, Json]:
    """Give what a candidate's record says of threads: how many a model has, and how they wait for each other."""
    threads, policy = (os.environ.get(name, "") for name in (_VARIABLES[0], _WAIT_POLICY))  # noqa: TID251 - as above
    return {"threads_per_model": int(threads or 0), "wait_policy": policy}
