"""A real server on a free port, over a real house, and clients that sign for it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import botocore.config
import botocore.session
import uvicorn

import houses
from gyropilot.api import app as api_app
from gyropilot.cli.connections import BoundedProtocol


class Server:
    """An address that answers for a house."""

    def __init__(self, house, port):
        self.house = house
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.key, self.secret = house.credentials.first_admin()

    def client(self, name="sagemaker", *, key=None, secret=None, region=houses.REGION, session=None, **config):
        session = session or botocore.session.Session()
        session.set_credentials(key or self.key, secret or self.secret)
        return session.create_client(
            name,
            region_name=region,
            endpoint_url=self.url,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, **config),
        )


@contextmanager
def serving(house, catalog=None, make_app=None, *, patience=None):
    """Give a server of the JSON API over a house, or of what `make_app` makes of it.

    At its end it waits `patience` s for its calls; None: until they are over.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        house = replace(house, settings=replace(house.settings, port=port))
        app = make_app(house) if make_app else api_app.make_app(house, catalog)
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            loop="asyncio",
            lifespan="on" if make_app else "off",
            log_config=None,
            timeout_graceful_shutdown=patience,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            assert thread.is_alive()
            threading.Event().wait(0.01)
        try:
            yield Server(house, port)
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()
