"""Fixtures that tests of several rooms share: a running service with a tiny base model."""

from __future__ import annotations

import os
import signal

import pytest

# Before anything imports numpy or torch, which read it then. Several test processes, each with a thread a core, spin
# while they wait for each other at every small step of a model: tests of training take thrice the processor time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs the tests in its background has them ignore Ctrl-C, which every process they start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import services
from gyropilot import settings
from gyropilot.base_models.store import BaseModelStore

pytest_plugins = ("postgresql",)


def pytest_collection_modifyitems(items):
    """Begin with the tests that run whole jobs: begun last they would leave one process at work and the other idle."""
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory):
    return services.make_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory):
    """SmolLM2-135M-Instruct as it is installed here, or pulled once as a user does."""
    store = BaseModelStore(settings.read({}, {}).base_models, allow_downloads=False)
    found = store.find("SmolLM2-135M-Instruct")
    if found is None:
        store = BaseModelStore(tmp_path_factory.mktemp("base_models"), allow_downloads=False)
        found = store.pull("SmolLM2-135M-Instruct")
    return found


@pytest.fixture(scope="session")
def service(tmp_path_factory, tiny_model_folder):
    """One service for all tests that leave it running; the tiny model is registered, s3://data/train/ holds rows."""
    home = tmp_path_factory.mktemp("service") / "home"
    with services.running(home, checkpoint_seconds=1) as running:
        added = running.gyropilot("models", "add", services.TINY, tiny_model_folder)
        assert added.returncode == 0, added.stderr
        services.put_rows(running, services.rows(40))
        yield running


@pytest.fixture(scope="session")
def endpoint(service):
    """The name of a text endpoint of `service` that is InService, of a job of the same name; left as it is by tests."""
    return services.deploy(service, "tuned")
