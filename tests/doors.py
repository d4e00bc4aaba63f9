"""A running S3 door over a real folder: uvicorn in a thread, as tests of several rooms use it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
import uvicorn
from botocore.config import Config

from gyropilot.cli.connections import BoundedProtocol
from gyropilot.s3.app import make_app
from gyropilot.settings import Settings
from gyropilot.store.folder_objects import FolderObjects
from gyropilot.store.principals import Credentials


@dataclass(frozen=True, kw_only=True)
class RunningDoor:
    url: str
    key: str
    secret: str
    objects: FolderObjects
    settings: Settings

    def client(self, **config):
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.settings.region,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(retries={"max_attempts": 1}, **config),
        )

    def environment(self):
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": self.settings.region,
        }


@contextlib.contextmanager
def running(home: Path):
    # asyncio switches Nagle's delay off only for sockets that name their protocol.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        settings = Settings(home=home, port=listener.getsockname()[1])
        home.mkdir(mode=0o700, exist_ok=True)
        credentials = Credentials.open(settings.credentials, settings.account_id)
        objects = FolderObjects(settings.objects)
        config = uvicorn.Config(
            make_app(objects, credentials, settings),
            http=BoundedProtocol,
            lifespan="off",
            log_config=None,
            server_header=False,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 10
            while not server.started:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            key, secret = credentials.first_admin()
            url = f"http://127.0.0.1:{settings.port}"
            yield RunningDoor(url=url, key=key, secret=secret, objects=objects, settings=settings)
        finally:
            server.should_exit = True
            thread.join(10)
