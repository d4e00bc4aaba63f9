import re
import sys
from pathlib import Path

import pytest

import services

TOP = Path(__file__).resolve().parents[2]


def _programs():
    found = re.findall(
        r"<!-- run in tests/docs/test_readme.py -->\n```python\n(.*?)```", (TOP / "README.md").read_text(), re.S
    )
    # The tiny model stands in for the real one, so that the test takes seconds.
    return [one.replace("SmolLM2-135M-Instruct", services.TINY) for one in found]


@pytest.mark.slow
def test_the_readme_programs_run(service, tmp_path):
    lines = "\n".join(f'"{given}","{wanted}"' for given, wanted in services.rows(20))
    (tmp_path / "data.csv").write_text(f"input,output\n{lines}\n")
    environment = services.clean_environment() | service.variables
    trains, asks = _programs()
    ran = services.run([sys.executable, "-c", trains], cwd=tmp_path, env=environment)
    assert ran.returncode == 0, ran.stderr
    watched = service.gyropilot("jobs", "watch", "my-job")
    assert watched.returncode == 0, watched.stdout + watched.stderr
    report = ["s3", "cp", "s3://my-data/output/my-job/report.html", "."]
    copied = services.run([services.SCRIPTS / "aws", *report], cwd=tmp_path, env=environment)
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "report.html").read_text().lstrip().startswith("<!")
    asked = services.run([sys.executable, "-c", asks], cwd=tmp_path, env=environment)
    assert (asked.returncode, asked.stdout.endswith("\n")) == (0, True), asked.stderr
