"""The hub's own client against a small server that speaks as the hub does; nothing leaves the machine."""

import hashlib
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import model_folders as folders

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PROGRAM = """
import sys
from pathlib import Path
from gyropilot.base_models import hub
from gyropilot.base_models.folder import copy_clean
from gyropilot.base_models.progress import ignored
from gyropilot.errors import InvalidData
try:
    folder, commit = hub.fetch(sys.argv[1], "main", Path(sys.argv[2]), ignored)
except InvalidData as error:
    print(error)
else:
    print(commit, sorted(path.name for path in folder.iterdir() if path.is_file()))
"""


class Hub(BaseHTTPRequestHandler):
    """Serves one repository; others are missing or gated."""

    files: dict[str, bytes]
    asked: list[str]

    def do_GET(self):
        self._answer()

    def do_HEAD(self):
        self._answer()

    def _answer(self):
        path = self.path.partition("?")[0]
        self.asked.append(path)
        if path.startswith("/api/models/gated/"):
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        elif path.startswith("/api/models/me/tiny/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            self._send(200, json.dumps(entries).encode())
        elif path.startswith("/api/models/me/tiny"):
            siblings = [{"rfilename": name} for name in self.files]
            self._send(200, json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": siblings, "tags": []}).encode())
        elif path.startswith(f"/me/tiny/resolve/{COMMIT}/"):
            content = self.files[path.rpartition("/")[2]]
            etag = hashlib.sha256(content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such repository"})

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    source = folders.make(tmp_path / "published")
    (source / "modeling_evil.py").write_text("evil")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    handler = type("Handler", (Hub,), {"files": files, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    def fetched(endpoint, hub_id):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # a test of training may have set them in this process
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "scratch").mkdir()
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, hub_id, tmp_path / "scratch"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return fetched


def test_one_commit_is_fetched_and_only_files_that_are_used(hub, fetch):
    endpoint, handler = hub
    told = fetch(endpoint, "me/tiny")
    wanted = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert told == f"{COMMIT} {wanted}"
    assert not any("evil" in path or ".bin" in path for path in handler.asked)


@pytest.mark.parametrize(
    ("hub_id", "expected"),
    [
        ("gated/model", "only to accounts that accepted its licence"),
        ("me/absent", "no such model or revision"),
        ("../../etc", "could not be fetched"),
    ],
)
def test_what_the_hub_refuses_says_why(hub, fetch, hub_id, expected):
    assert expected in fetch(hub[0], hub_id)


def test_a_hub_that_does_not_answer_says_what_to_do(fetch):
    told = fetch("http://127.0.0.1:9", "me/tiny")
    assert "could not be fetched from the hub" in told
    assert "gyropilot models add NAME FOLDER" in told
