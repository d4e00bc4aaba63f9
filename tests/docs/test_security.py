import pytest

import doc_blocks
import services


@pytest.mark.slow
def test_the_examples_of_the_security_page_work(tmp_path):
    (tmp_path / "lake-secret.txt").write_text("a-secret\n")
    with services.running(tmp_path / "home") as service:
        ran = doc_blocks.run("security.md", service, tmp_path)
    for said in ("operator", '"Account": "000000000000"', "revoked GYRO", "role/team", "gyropilot:CreateJobRole"):
        assert said in ran.stdout
