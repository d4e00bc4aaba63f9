import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def test_generated_parts_are_what_the_code_says():
    ran = subprocess.run(
        [sys.executable, TOP / "tools" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_link_between_pages_leads_somewhere():
    pages = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *(TOP / "docs").rglob("*.md")]
    broken = [
        f"{page.relative_to(TOP)}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_make_target_that_the_docs_name_exists():
    known = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in (TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / ".ci" / "run"):
        for line in re.findall(r"(?:^|\$ |`)make (?:--no-print-directory )?([a-z -]+)", page.read_text(), re.MULTILINE):
            assert set(line.split()) <= known, f"{page.name}: make {line}"
