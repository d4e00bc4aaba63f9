"""Makes jobs for the tests of the store, and runs code of theirs in many threads at once."""

from __future__ import annotations

import threading

from gyropilot.store.jobs import NewJob

ACCOUNT = "000000000000"
REGION = "us-east-1"


def new_job(name="job", **chosen):
    values = {
        "account_id": ACCOUNT,
        "region": REGION,
        "name": name,
        "arn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:automl-job/{name}",
        "problem": "TextGeneration",
        "request": {"AutoMLJobName": name},
        "spec": {},
        "resolved": {},
        "principal": "GYROAAAA",
        "invocation_id": None,
    }
    return NewJob(**(values | chosen))


def in_threads(count, work):
    """Give what work(number) gave or raised, for each number, all started at once."""
    outcomes = [None] * count
    start = threading.Barrier(count)

    def run(number):
        start.wait()
        try:
            outcomes[number] = work(number)
        except Exception as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
