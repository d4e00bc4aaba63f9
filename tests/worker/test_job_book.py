"""What the worker writes of a job, as several threads do."""

import threading

import houses
from gyropilot.errors import Unavailable
from gyropilot.store import events, jobs, leases
from gyropilot.store.job_logs import JobLog
from gyropilot.worker.job_book import JobBook
from gyropilot.worker.patience import Patience
from mean_problem import MEAN
from new_jobs import new_job


def test_an_event_that_was_written_though_its_answer_was_lost_stands_once_whatever_others_tell(tmp_path, monkeypatch):
    house = houses.build(tmp_path, (MEAN,))
    made = jobs.create(house.db, new_job("told", request=houses.mean_request("told")), {})
    lease, _ = leases.claim(house.db, "test", 600, None)
    log = JobLog(tmp_path / "log", most_bytes=2**20)
    book = JobBook(house.db, lease, made, Patience(threading.Event(), threading.Event()), log)
    write, others = events.append, []

    def lost(db, lease, kind, message, detail):
        write(db, lease, kind, message, detail)
        monkeypatch.setattr(events, "append", write)
        others.append(threading.Thread(target=book.event, args=("told", "two")))
        others[0].start()
        others[0].join(0.5)
        raise Unavailable("the answer is lost")

    monkeypatch.setattr(events, "append", lost)
    book.event("told", "one")
    others[0].join()
    told = [one.message for one in events.after(house.db, made.id, 0, 100) if one.kind == "told"]
    assert told == ["one", "two"]
    house.db.close()
