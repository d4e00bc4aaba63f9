"""`gyropilot api` and `gyropilot worker` as processes of their own, on one PostgreSQL and one home."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from types import SimpleNamespace

import psutil
import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError

import mean_gyropilot
import services
from gyropilot.store import events
from gyropilot.store import jobs as jobs_room
from gyropilot.store.database import Database
from mean_gyropilot import PROGRAM, mean_request
from new_jobs import ACCOUNT, REGION

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(postgresql):
    created = postgresql.create_migrated_database()
    yield created
    postgresql.drop_database(created)


@pytest.fixture(scope="module")
def apart(tmp_path_factory, url):
    """Two apis and three workers whose leases are short; a test that ends one starts it again."""
    with services.running_apart(
        tmp_path_factory.mktemp("apart") / "home",
        database_url=url,
        apis=2,
        workers=3,
        program=PROGRAM,
        lease_seconds=2,
        cores=1,
        memory_gib=1,
    ) as service:
        mean_gyropilot.put_numbers(service.first)
        yield service


def ended(service, name, seconds=60):
    client = service.sdk()

    def find():
        job = client.describe(name)
        return job if job["AutoMLJobStatus"] in {"Completed", "Failed", "Stopped"} else None

    return services.wait_until(find, seconds=seconds, what=f"{name} to end")


def test_twelve_jobs_on_two_apis_and_three_workers_complete_once_each(apart, url):
    names = [f"job-{number}" for number in range(12)]
    for number, name in enumerate(names):
        api = apart.apis[number % 2]
        api.sdk().create_job(mean_request(api, name))
    for number, name in enumerate(names):
        job = ended(apart.apis[(number + 1) % 2], name)
        assert job["AutoMLJobStatus"] == "Completed", job.get("FailureReason")
    database = Database.open(url)
    for name in names:
        record = jobs_room.find(database, ACCOUNT, REGION, name)
        told = [one.message for one in events.after(database, record.id, 0, 100) if one.kind == "status"]
        assert told.count("Completed") == 1
        assert record.attempts == 1
    database.close()
    claims = [worker.log.read_text().count(": claimed") for worker in apart.workers]
    assert sum(claims) == 12
    assert all(claims), "one worker did nothing"
    assert list((apart.first.home / "scratch").iterdir()) == []
    for api in apart.apis:  # the log of a job is read through any api, whoever ran it
        assert api.gyropilot("jobs", "logs", names[0]).returncode == 0


def test_a_killed_workers_job_is_taken_over_within_two_leases(apart):
    client = apart.first.sdk()
    client.create_job(mean_request(apart.first, "killed", steps=60, step_seconds=0.1))
    holder = services.wait_until(lambda: _holder(apart, "killed"), seconds=20, what="a claim")
    services.wait_until(lambda: client.progress("killed").done >= 5, seconds=30, what="some steps")
    children = psutil.Process(holder.process.pid).children(recursive=True)
    holder.kill()
    others = [worker for worker in apart.workers if worker is not holder]
    services.wait_until(
        lambda: any("job killed: claimed, epoch 2" in one.log.read_text() for one in others),
        seconds=4,
        what="another worker to take the job within two leases",
    )
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == [], "a child outlived its worker"
    holder.start()
    assert ended(apart.first, "killed")["AutoMLJobStatus"] == "Completed"
    assert "resumed" in [one.kind for one in client.events("killed")]


def test_a_worker_that_wakes_after_its_lease_went_to_another_writes_nothing(apart, url):
    """Its process is stopped, its child goes on training: neither may touch what the next owner does."""
    client = apart.first.sdk()
    client.create_job(mean_request(apart.first, "zombie", steps=80, step_seconds=0.05))
    holder = services.wait_until(lambda: _holder(apart, "zombie"), seconds=20, what="a claim")
    services.wait_until(lambda: client.progress("zombie").done >= 5, seconds=30, what="some steps")
    children = psutil.Process(holder.process.pid).children(recursive=True)
    holder.process.send_signal(signal.SIGSTOP)
    try:
        others = [worker for worker in apart.workers if worker is not holder]
        services.wait_until(
            lambda: any("job zombie: claimed, epoch 2" in one.log.read_text() for one in others),
            seconds=10,
            what="another worker to take the job",
        )
    finally:
        holder.process.send_signal(signal.SIGCONT)
    services.wait_until(
        lambda: "job zombie: lease lost" in holder.log.read_text(), seconds=5, what="the old owner to leave the job"
    )
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == [], "the old owner's child goes on"
    assert ended(apart.first, "zombie")["AutoMLJobStatus"] == "Completed"
    database = Database.open(url)
    record = jobs_room.find(database, ACCOUNT, REGION, "zombie")
    told = [one.message for one in events.after(database, record.id, 0, 100) if one.kind == "status"]
    assert told.count("Completed") == 1
    database.close()
    s3 = apart.first.boto3("s3")
    manifest = s3.get_object(Bucket="data", Key="out/zombie/manifest.json")["Body"].read()
    assert hashlib.sha256(manifest).hexdigest() == record.artifacts["manifest_sha256"]
    for name, file in json.loads(manifest)["files"].items():
        body = s3.get_object(Bucket="data", Key=f"out/zombie/{name}")["Body"].read()
        assert hashlib.sha256(body).hexdigest() == file["sha256"]
    services.wait_until(
        lambda: not list((apart.first.home / "scratch").glob(f"{record.id}*")), seconds=10, what="its scratch to go"
    )


def test_a_worker_that_is_told_to_end_hands_its_job_on_at_once(apart):
    client = apart.first.sdk()
    client.create_job(mean_request(apart.first, "handed-on", steps=60, step_seconds=0.05))
    holder = services.wait_until(lambda: _holder(apart, "handed-on"), seconds=20, what="a claim")
    assert holder.stop() == 0
    others = [worker for worker in apart.workers if worker is not holder]
    services.wait_until(
        lambda: any("job handed-on: claimed, epoch 2" in one.log.read_text() for one in others),
        seconds=1.5,
        what="another worker to take the job before its lease runs out",
    )
    holder.start()
    assert ended(apart.first, "handed-on")["AutoMLJobStatus"] == "Completed"


def test_an_apis_note_goes_with_it_and_the_others_stay(apart):
    first, second = apart.apis
    newest = json.loads(first.gyropilot("env", "--json").stdout)["AWS_ENDPOINT_URL"]
    assert newest in {one.variables["AWS_ENDPOINT_URL"] for one in apart.apis}
    second.kill()  # its note stays behind, and nobody answers there
    left = json.loads(first.gyropilot("env", "--json").stdout)["AWS_ENDPOINT_URL"]
    assert left == first.variables["AWS_ENDPOINT_URL"]
    second.start()
    assert len(list((first.home / "services").glob("*.json"))) == 2
    assert first.stop() == 0
    assert len(list((first.home / "services").glob("*.json"))) == 1
    first.start()


@pytest.mark.parametrize("first", ["api", "worker"])
def test_either_may_start_first_on_an_empty_database(tmp_path, postgresql, first):
    url = postgresql.create_database()
    chosen = {"database_url": url, "program": PROGRAM, "cores": 1, "memory_gib": 1}
    commands = [first, *({"api", "worker"} - {first})]
    processes = [services.Process(tmp_path / "home", command, **chosen) for command in commands]
    try:
        for process in processes:
            process.start()
        api = next(one for one in processes if one.command == "api")
        mean_gyropilot.put_numbers(api)
        api.sdk().create_job(mean_request(api, "job"))
        assert ended(api, "job")["AutoMLJobStatus"] == "Completed"
    finally:
        assert [one.stop() for one in processes] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["api", "worker"])
def test_a_signal_ends_a_process_cleanly(tmp_path, postgresql_url, command, number):
    process = services.Process(tmp_path / "home", command, database_url=postgresql_url)
    process.start()
    process.process.send_signal(number)
    try:
        assert process.process.wait(15) == 0, process.log.read_text()
    finally:
        process.kill()  # of a process that hangs, whose end another test would be blamed for
    assert "Traceback" not in process.log.read_text()
    assert list((tmp_path / "home").glob("services/*")) == []


@pytest.mark.parametrize("command", ["api", "worker"])
def test_on_sqlite_they_say_why_they_cannot_run_and_what_to_do(tmp_path, command):
    ran = _gyropilot(command, "--home", tmp_path / "home")
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    for said in ("database_url", "SQLite", "PostgreSQL", "gyropilot up", "GYROPILOT_DATABASE_URL"):
        assert said in ran.stderr
    assert not (tmp_path / "home").exists()


def test_a_home_in_use_by_one_kind_refuses_the_other(tmp_path, postgresql_url):
    home = tmp_path / "home"
    with services.running(home, database_url=postgresql_url):
        ran = _gyropilot("up", "--home", home, "--port", "0")
        assert (ran.returncode, len(ran.stderr.splitlines())) == (1, 1)
        assert "in use by gyropilot processes that share a database" in ran.stderr
    with services.running(home) as service:
        ran = _gyropilot("worker", "--home", home, GYROPILOT_DATABASE_URL=postgresql_url)
        assert ran.returncode == 1
        assert f"process {service.process.pid}" in ran.stderr


def test_the_password_is_nowhere_to_be_seen(tmp_path, postgresql):
    password = "canary-31415-canary"
    database = sa.make_url(postgresql.create_database()).database
    postgresql.execute(f"CREATE ROLE canary SUPERUSER LOGIN PASSWORD '{password}'")
    secret_url = postgresql.url(database, user="canary", password=password)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "settings.toml").write_text(f'database_url = "{secret_url}"\n')
    (home / "settings.toml").chmod(0o600)
    with services.running(home, log_level="DEBUG") as service:
        assert password not in " ".join(psutil.Process(service.process.pid).cmdline())
        postgresql.execute(f"DROP DATABASE {database} WITH (FORCE)")
        failed = service.gyropilot("jobs", "list")
        assert failed.returncode == 1
        assert password not in failed.stdout + failed.stderr
    for path in home.parent.rglob("*"):
        if path.is_file() and path.name != "settings.toml":
            assert password.encode() not in path.read_bytes(), path
    (home / "settings.toml").chmod(0o644)
    ran = _gyropilot("up", "--home", home, "--port", "0")
    postgresql.execute("DROP ROLE canary")
    assert (ran.returncode, password in ran.stderr) == (1, False)
    assert "chmod 600" in ran.stderr


def _holder(apart, name):
    """Give the worker that claimed the job."""
    return next((one for one in apart.workers if f"job {name}: claimed" in one.log.read_text()), None)


def _gyropilot(*arguments, **environment):
    command = [services.GYROPILOT[0], *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=services.clean_environment() | environment,
    )


def test_a_key_revoked_at_one_api_is_refused_by_the_other_within_seconds(apart):
    first, second = apart.apis
    made = json.loads(first.gyropilot("keys", "create", "--kind", "operator", "--name", "ann", "--json").stdout)
    asked = services.Process.boto3(
        SimpleNamespace(
            variables=second.variables
            | {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
        ),
        "sagemaker",
    )
    asked.list_auto_ml_jobs()
    assert first.gyropilot("keys", "revoke", made["AccessKeyId"]).returncode == 0

    def is_refused():
        try:
            asked.list_auto_ml_jobs()
        except ClientError as error:
            return error.response["Error"]["Code"] == "InvalidSignatureException"
        return False

    services.wait_until(is_refused, seconds=8, what="the other api to refuse the key")
