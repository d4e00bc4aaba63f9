"""How `gyropilot up` goes: by SIGTERM and by Ctrl-C alike it leaves nothing behind but its home."""

import json
import signal
import time

import psutil
import pytest
from click.testing import CliRunner

import services
from gyropilot.cli import up


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_cleanly(tmp_path, number):
    with services.running(tmp_path / "home") as service:
        service.process.send_signal(number)
        assert service.process.wait(15) == 0, service.log.read_text()
        assert list((service.home / "services").iterdir()) == []
        assert "Traceback" not in service.log.read_text()


def test_a_second_service_on_the_same_home_is_refused(tmp_path):
    with services.running(tmp_path / "home") as service:
        ran = service.gyropilot("up", "--port", "0")
        assert ran.returncode == 1
        assert str(service.process.pid) in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        (note,) = (service.home / "services").iterdir()
        assert json.loads(note.read_text())["pid"] == service.process.pid


def test_a_taken_port_is_named(tmp_path):
    with services.running(tmp_path / "home") as service:
        port = service.variables["AWS_ENDPOINT_URL"].rpartition(":")[2]
        ran = service.gyropilot("up", "--home", tmp_path / "other", "--port", port)
        assert ran.returncode == 1
        assert "--port" in ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("home", ["/proc/x", "file.csv/x"])
def test_a_home_that_cannot_be_made_is_named(tmp_path, home):
    (tmp_path / "file.csv").write_text("a,b")
    command = [services.SCRIPTS / "gyropilot", "up", "--home", tmp_path / home, "--port", "0"]
    ran = services.run(command, env=services.clean_environment())
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    for part in ("setting home", str(tmp_path / home), "--home"):
        assert part in ran.stderr


def test_ctrl_c_before_the_service_listens_ends_it_too(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gyropilot.cli.processes.serve_all", interrupted)
    ran = CliRunner().invoke(up.up, ["--home", str(tmp_path)])
    assert (ran.exit_code, ran.stdout) == (0, "stopped\n")


@pytest.mark.slow
def test_sigterm_in_mid_training_hands_the_job_back(tmp_path, tiny_model_folder):
    """No checkpoint is due, so what the next start goes on from was saved because of the signal."""
    with services.running(tmp_path / "home", checkpoint_seconds=3600) as service:
        assert service.gyropilot("models", "add", services.TINY, tiny_model_folder).returncode == 0
        services.put_rows(service, services.rows(60))
        hyperparameters = {"epochCount": "5", "batchSize": "1"}
        service.sdk().create_job(services.request(service, TextGenerationHyperParameters=hyperparameters))
        assert any(seen.phase == "training" for seen in service.sdk().watch("job", poll_seconds=0.1))
        children = psutil.Process(service.process.pid).children(recursive=True)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 15
        assert not any(child.is_running() for child in children)
        service.start()
        assert service.sdk().wait("job", timeout_seconds=120, poll_seconds=0.2)["AutoMLJobStatus"] == "Completed"
        events = service.sdk().events("job")
        assert any(one.message.startswith("went on from step") and one.detail["step"] > 0 for one in events)
        assert "lost" not in [one.kind for one in events]
