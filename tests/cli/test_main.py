import json
import subprocess
import sys
from pathlib import Path

import pytest

GYROPILOT = Path(sys.executable).with_name("gyropilot")


def gyropilot(*arguments, **options):
    return subprocess.run([GYROPILOT, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


def test_help_names_every_command_and_imports_none():
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "from gyropilot.cli.main import main\n"
        "try: main()\n"
        "finally: print([m for m in ('botocore', 'sqlalchemy', 'uvicorn', 'torch', 'pyarrow') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    assert all(f"  {name} " in ran.stdout for name in ("up", "env", "jobs", "models"))
    assert ran.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["jobs", "list", "--limit", "0"], ["jobs", "show"], ["env", "-x"]]
)
def test_a_wrong_command_is_one_line_and_exit_code_2(arguments):
    ran = gyropilot(*arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("gyropilot: ")
    assert "--help" in ran.stderr


@pytest.mark.parametrize("arguments", [["env"], ["jobs", "list"], ["jobs", "watch", "any"]])
def test_without_a_service_commands_say_how_to_start_it(arguments, tmp_path):
    ran = gyropilot(*arguments, "--home", tmp_path)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert f"gyropilot up --home {tmp_path}" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_note_of_a_service_that_is_gone_is_told_apart(tmp_path):
    note = {"url": "http://127.0.0.1:9", "account_id": "0" * 12, "started_at": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "one.json").write_text(json.dumps(note))
    ran = gyropilot("env", "--home", tmp_path)
    assert ran.returncode == 1
    assert "does not answer at http://127.0.0.1:9" in ran.stderr


def test_a_bad_setting_is_one_line(tmp_path):
    (tmp_path / "settings.toml").write_text("prot = 1")
    ran = gyropilot("env", "--home", tmp_path)
    assert ran.returncode == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "prot" in ran.stderr


def test_output_into_a_closed_pipe_is_no_error():
    ran = subprocess.run(
        ["bash", "-c", f"{GYROPILOT} --help | head -1; exit ${{PIPESTATUS[0]}}"], capture_output=True, check=False
    )
    assert ran.returncode == 0
    assert ran.stderr == b""
