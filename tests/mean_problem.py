"""A problem type small enough for tests: it learns the mean of the numbers in a channel, one step at a time.

It stands where TabularJobConfig does, so that shape checks and clients take its requests. Tags of a request choose:
`steps` how many steps a candidate trains, `step_seconds` how long each takes, `candidates` how many there are,
`at_once` how many side by side, `meet` how many wait for each other to have begun, `ends_as` what the job ends as once
it is profiled, `extra` an object to read beside the channel, `fault` what goes wrong.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from dataclasses import asdict, dataclass, replace

from gyropilot.errors import InvalidData, InvalidRequest, LimitExceeded, TrainingFailed
from gyropilot.problems import tasks
from gyropilot.problems.contract import (
    Container,
    HandBack,
    Limits,
    Metric,
    Problem,
    Reply,
    Report,
    ReportResult,
    StreamedReply,
    TrainResult,
)


@dataclass(frozen=True, kw_only=True)
class MeanSpec:
    steps: int
    step_seconds: float
    fault: str
    candidates: int
    at_once: int
    meet: int
    ends_as: str
    extra: str
    limits: Limits

    def to_json(self):
        return asdict(self)


def read_request(request, context):
    tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}
    if tags.get("fault") == "request":
        raise InvalidRequest(where="Tags", found="request", problem="is the fault asked for", fix="ask for none")
    criteria = request["AutoMLProblemTypeConfig"]["TabularJobConfig"].get("CompletionCriteria", {})
    return MeanSpec(
        steps=int(tags.get("steps", "3")),
        step_seconds=float(tags.get("step_seconds", "0")),
        fault=tags.get("fault", ""),
        candidates=int(tags.get("candidates", "1")),
        at_once=int(tags.get("at_once", "1")),
        meet=int(tags.get("meet", "1")),
        ends_as=tags.get("ends_as", ""),
        extra=tags.get("extra", ""),
        limits=Limits(
            max_candidates=criteria.get("MaxCandidates", 1),
            seconds_per_candidate=criteria.get("MaxRuntimePerTrainingJobInSeconds"),
            seconds_per_job=criteria.get("MaxAutoMLJobRuntimeInSeconds"),
        ),
    )


def read_spec(values):
    return MeanSpec(**{**values, "limits": Limits(**values["limits"])})


class MeanSearch:
    def __init__(self, spec, profile):
        self._names = [f"mean-{number}" for number in range(spec.candidates)]
        self._at_once = spec.at_once
        self._told = 0

    def at_once(self, cores):
        return self._at_once

    def ask(self):
        if not self._names:
            return None
        name = self._names.pop(0)
        return {"name": name, "told": self._told} | ({"steps": _steps(name)} if self._at_once > 1 else {})

    def tell(self, name, result):
        self._told += 1


def _steps(name):
    kinds = {"ProcessingJob": "db-1", "TrainingJob": f"dpp-{name}", "TransformJob": f"rpb-{name}"}
    return [{"kind": kind, "name": step} for kind, step in kinds.items()]


def profile(arguments, reporter):
    task = tasks.profile_task(arguments)
    numbers = []
    for file in task.channels[0].files:
        for number, line in enumerate(file.path.read_text().splitlines(), start=1):
            if not line.replace(".", "").isdigit():
                raise InvalidData(where=f"{file.uri} row {number}", found=line, problem="is no number", fix="mend it")
            numbers.append(float(line))
    (task.prepared / "numbers.json").write_text(json.dumps(numbers))
    reporter.event("finding", f"{len(numbers)} numbers", detail={"count": len(numbers)})
    if task.spec["fault"] == "slow profile":
        threading.Event().wait(60)
    found = {"count": len(numbers), "extra": [one.path.read_text() for one in task.extra_files]}
    if task.spec["ends_as"]:
        (task.output / "notebooks").mkdir()
        (task.output / "notebooks" / "Exploration.ipynb").write_text("{}")
        found["artifacts"] = {"DataExploration": "notebooks/Exploration.ipynb"}
    if task.spec["ends_as"] not in ("", "trained"):
        found["ends_as"] = task.spec["ends_as"]
    return found


def train(arguments, reporter):
    task = tasks.train_task(arguments)
    numbers = json.loads((task.prepared / "numbers.json").read_text())
    checkpoint = task.checkpoints / "steps.json"
    done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
    ended_by = "finished"
    (task.checkpoints / "pid").write_text(str(os.getpid()))
    _meet(task)
    for step in range(done, task.spec["steps"]):
        if reporter.hand_back_requested():
            (task.checkpoints / "handed_back").write_text(str(step))
            raise HandBack
        if reporter.stop_requested():
            ended_by = "stop"
            break
        if task.seconds_left is not None and step - done >= task.seconds_left / max(task.spec["step_seconds"], 1e-9):
            ended_by = "time limit"
            break
        _fail_if_asked(task, step)
        threading.Event().wait(task.spec["step_seconds"])
        partial = checkpoint.with_suffix(".partial")
        partial.write_text(json.dumps(step + 1))
        partial.replace(checkpoint)
        values = {"loss": 1.0, "saved": step + 1}
        reporter.progress("training", done=step + 1, total=task.spec["steps"], unit="steps", values=values)
    environment = {"A": "b"} | ({"fault": "not whole"} if task.spec["fault"] == "not servable" else {})
    mean = sum(numbers) / len(numbers)
    place = task.output if task.spec["at_once"] == 1 else task.output / task.candidate["name"]
    place.mkdir(exist_ok=True)
    (place / "model.json").write_text(json.dumps({"mean": mean}))
    if task.spec["fault"] == "no model" and task.candidate["name"] == "mean-0":
        (place / "model.json").rename(place / "other.json")
    model = (place / "model.json").relative_to(task.output).as_posix()
    error = sum((one - mean) ** 2 for one in numbers) / len(numbers) + float(task.candidate["name"][5:])
    return tasks.to_json(
        TrainResult(
            score=error,
            score_name="MSE",
            direction="Minimize",
            metrics=(Metric(name="MSE", split="Validation", value=error),),
            containers=(Container(image="gyropilot/mean", model_path=model, environment=environment),),
            artifacts={"model": model},
            chosen={"told": task.candidate["told"], "cores": task.cores},
            ended_by=ended_by,
        )
    )


def _meet(task):
    """Wait until as many candidates have begun as are to meet."""
    (task.prepared / f"{task.candidate['name']}.begun").touch()
    while len(list(task.prepared.glob("*.begun"))) < task.spec["meet"]:
        threading.Event().wait(0.02)


def report(arguments, reporter):
    """Tell the mean that the best candidate learned."""
    task = tasks.report_task(arguments)
    if task.spec["fault"] == "report":
        raise TrainingFailed("the report is the fault asked for")
    if task.spec["fault"] == "report dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if task.spec["fault"] == "slow report":
        reporter.event("reporting", "the report has begun")
        threading.Event().wait(60)
    learned = json.loads((task.model / task.result["artifacts"]["model"]).read_text())
    (task.output / "documentation").mkdir()
    told = {"mean": learned["mean"], "candidate": task.candidate, "count": task.profile["count"]}
    told["compared"] = [[one["name"], one["score"], one["chosen"]] for one in task.candidates]
    (task.output / "documentation" / "report.json").write_text(json.dumps(told))
    return tasks.to_json(ReportResult(artifacts={"Explainability": "documentation"}))


def _fail_if_asked(task, step):
    fault, marker = task.spec["fault"], task.checkpoints / "died"
    if fault == "training" or (fault == "first candidate" and task.candidate["name"] == "mean-0"):
        raise InvalidData(where="step", found=step, problem="is the fault asked for", fix="ask for none")
    if fault == "deaf" and task.candidate["name"] != "mean-0":
        threading.Event().wait(60)
    if fault == "full disk once" and not marker.exists():
        marker.write_text("")
        raise OSError(errno.ENOSPC, "No space left on device")
    if fault == "bug":
        raise ZeroDivisionError("secret of the house")
    if fault == "always dies" or (fault == "dies once" and step == 1 and not marker.exists()):
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)


class MeanServer:
    """Answers text/csv rows with the mean that was learned, a line each; a row may be a fault to show: see _act."""

    calls_at_once = 4
    is_sound = True

    def __init__(self, task):
        self._models = {}

    def load(self, name, folder, environment):
        (file,) = (one for one in folder.iterdir() if one.is_file())
        learned = json.loads(file.read_text())
        fault = environment.get("fault", learned.get("fault", ""))
        if fault == "bad environment":
            raise InvalidRequest(where="Environment.fault", found=fault, problem="is not to be had", fix="leave it out")
        if fault == "not whole":
            raise TrainingFailed("the folder is not whole")
        if fault == "die at load":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "break at load":
            raise KeyError("secret of the house")
        if fault == "grow at load":
            _grow()
        if fault == "slow to load":
            threading.Event().wait(60)
        if fault == "held at load":  # until a file `.go` lies beside the models, which a sweep leaves there
            while not (folder.parent / ".go").exists():
                threading.Event().wait(0.02)
        self._models[name] = learned["mean"]

    def unload(self, name):
        del self._models[name]

    def answer(self, name, call):
        rows = call.body.decode().splitlines()
        if call.content_type == "application/json":
            return Reply(body=json.dumps({"mean": self._models[name]}).encode(), content_type="application/json")
        if call.content_type == "application/jsonlines":
            lines = [json.dumps({"mean": self._models[name], "of": json.loads(row)}) for row in rows]
            return Reply(body="".join(f"{line}\n" for line in lines).encode(), content_type=call.content_type)
        if call.content_type != "text/csv":
            raise InvalidRequest(where="ContentType", found=call.content_type, problem="is none", fix="send text/csv")
        if rows == ["unsound"]:
            self.is_sound = False
        for row in rows:
            _act(row, call)
        answers = [f"{self._models[name]},{row}" if row.startswith("echo ") else self._models[name] for row in rows]
        return Reply(body="".join(f"{one}\n" for one in answers).encode(), content_type="text/csv")

    def stream(self, name, call):
        rows = call.body.decode().splitlines()
        if not rows:
            raise InvalidRequest(where="Body", found=0, problem="has no row", fix="send one at least")

        def parts():
            for row in rows:
                _act(row, call)
                yield f"{self._models[name]}\n".encode()

        return StreamedReply(content_type="text/csv", parts=parts())

    def close(self):
        pass


def _act(row, call):
    """Show the fault that a row asks for; a number is none."""
    fault, _, amount = row.partition(" ")
    if fault == "sleep":
        call.cancelled.wait(float(amount))
    elif fault == "wait":
        while not os.path.exists(amount):  # noqa: PTH110 -- the shortest
            threading.Event().wait(0.02)
    elif fault == "print":
        print("x" * int(amount), flush=True)
    elif fault == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "break":
        raise ZeroDivisionError("secret of the house")
    elif fault == "leave":
        raise SystemExit(3)
    elif fault == "grow":
        _grow()
    elif fault == "refuse":
        raise InvalidRequest(where="row", found=row, problem="is the fault asked for", fix="ask for none")
    elif fault == "full":
        raise LimitExceeded("more than can be taken now")


def _grow():
    held = []
    while True:
        held.append(bytearray(os.urandom(2**20)) * 64)


def open_server(task):
    if os.path.exists(task.base_models / "broken"):  # noqa: PTH110 -- the shortest
        raise RuntimeError("secret of the house")
    return MeanServer(task)


MEAN = Problem(
    wire_name="TabularJobConfig",
    config_name="Tabular",
    extra="",
    read_request=read_request,
    read_spec=read_spec,
    resolved_attributes=lambda spec: {"AutoMLJobObjective": {"MetricName": "MSE"}},
    open_search=MeanSearch,
    profile="mean_problem:profile",
    train="mean_problem:train",
    open_server="mean_problem:open_server",
    image="gyropilot/mean",
    most_containers=15,
    profile_status="AnalyzingData",
)

REPORTED = replace(
    MEAN,
    reports=(
        Report(
            name="mean report",
            function="mean_problem:report",
            status="GeneratingExplainabilityReport",
            failed_status="ExplainabilityError",
        ),
    ),
    extra_inputs=lambda spec: (spec.extra,) if spec.extra else (),
    resolved_by_profile=lambda spec, profile: {"AutoMLJobObjective": {"MetricName": f"MSE of {profile['count']}"}},
    grace_seconds=0.5,
    longest_grace_seconds=0.5,
)
"""The same with a report, and with little patience once the time is up."""
