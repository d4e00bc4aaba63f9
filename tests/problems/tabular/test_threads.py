from __future__ import annotations

import json
import subprocess
import sys

import table_jobs

_CHILD = """
import json
from gyropilot.problems.tabular import threads
threads.use_threads(1)
import lightgbm, sklearn.tree, threadpoolctl
print(json.dumps([threads.told(), [one["num_threads"] for one in threadpoolctl.threadpool_info()]]))
"""


def test_libraries_of_a_child_have_as_many_threads_as_it_tells():
    printed = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True).stdout
    told, found = json.loads(printed)
    assert told == {"threads_per_model": 1, "wait_policy": "passive"}
    assert set(found) == {1}


def test_a_candidate_records_the_threads_it_was_trained_with(tmp_path):
    job = table_jobs.TableJob(tmp_path, mode="HYPERPARAMETER_TUNING", algorithms=("linear-learner",))
    assert job.result.chosen["threads_per_model"] == 1
    assert job.result.chosen["wait_policy"] == "passive"
