"""`gyropilot try`: in a pipe, in a terminal, and interrupted."""

import os
import pty
import select
import signal
import subprocess
from contextlib import contextmanager

import psutil
import pytest

import services
from gyropilot.log import printable

pytestmark = pytest.mark.slow

OPTIONS = ("--temperature", "0", "--max-tokens", "6")


def said(service, endpoint, *lines, options=OPTIONS):
    done = service.gyropilot("try", endpoint, *options, input="".join(f"{line}\n" for line in lines))
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_pipe_gives_the_answers_alone_and_each_turn_hears_the_ones_before(service, endpoint):
    chat = service.sdk().chat(endpoint, options={"temperature": 0, "max_tokens": 6})
    expected = []
    for line in ("What is 2 and 2?", "And 3 and 3?"):
        expected.append("".join(chat.say(line)))
    assert [one["role"] for one in chat.messages] == ["user", "assistant"] * 2
    printed, complained = said(service, endpoint, "What is 2 and 2?", "And 3 and 3?", "/exit", "never heard")
    assert complained == ""
    assert printed == "".join(f"{printable(one)}\n" for one in expected)


def test_the_likeliest_tokens_are_taken_unless_a_temperature_is_given(service, endpoint):
    first, _ = said(service, endpoint, "What is 2 and 2?", options=("--max-tokens", "6"))
    assert first == said(service, endpoint, "What is 2 and 2?")[0]


def test_an_answer_to_one_call_ends_its_line_on_a_terminal(service, endpoint):
    arguments = ("invoke", endpoint, "--text", "Hi", "--set", "max_new_tokens=2")
    with _Terminal(service, *arguments) as terminal:
        terminal.wait_for("generated_text")
        terminal.wait_for("}]\r\n")


def test_reset_and_system_begin_anew(service, endpoint):
    printed, _ = said(service, endpoint, "/system Be brief.", "Hi 1?", "/reset", "Hi 1?", "/system", "Hi 1?")
    chat = service.sdk().chat(endpoint, options={"temperature": 0, "max_tokens": 6})
    plain = printable("".join(chat.say("Hi 1?")))
    chat.reset(system="Be brief.")
    brief = printable("".join(chat.say("Hi 1?")))
    assert printed == f"{brief}\n{brief}\n{plain}\n"


def test_a_command_that_there_is_not_is_told_with_those_that_there_are(service, endpoint):
    printed, complained = said(service, endpoint, "/rest", "/help")
    assert printed == ""
    assert "there is no /rest" in complained
    assert complained.count("/system TEXT") == 2


def test_a_conversation_that_is_too_long_ends_a_pipe_with_the_reason(service, endpoint):
    done = service.gyropilot("try", endpoint, input="long " * 2000)
    assert done.returncode == 1
    assert "256 tokens" in done.stderr


def test_ctrl_c_ends_the_answer_and_not_the_conversation(service, endpoint):
    """In a terminal of its own, with an answer that does not come: the service stands still."""
    with _Terminal(service, "try", endpoint, "--temperature", "0", "--max-tokens", "6") as terminal:
        terminal.wait_for("/exit ends.")
        terminal.wait_for("> ")
        with _standing_still(service):
            terminal.type("What is 1 and 1?\n")
            services.wait_until(terminal.is_asking, seconds=30, what="the question to be sent")
            terminal.interrupt()
            terminal.wait_for("(ended by Ctrl-C)")
            terminal.wait_for("> ")
        terminal.interrupt()
        terminal.wait_for("/exit or Ctrl-D ends.")
        terminal.wait_for("> ")
        terminal.type("What is 2 and 2?\n")
        terminal.wait_for("the most tokens of an answer")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.process.wait(30) == 0


@contextmanager
def _standing_still(service):
    """Stop the service while the block runs; of its replicas it would end one that stands still for long."""
    process = psutil.Process(service.process.pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


class _Terminal:
    def __init__(self, service, *arguments):
        self._service, self._arguments = service, arguments

    def __enter__(self):
        self._ours, theirs = pty.openpty()
        environment = services.clean_environment() | {"GYROPILOT_HOME": str(self._service.home), "TERM": "dumb"}
        self.process = subprocess.Popen(
            [*services.GYROPILOT, *self._arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self._seen = ""
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def wait_for(self, text):
        """Read until the text is there; what stands before it is forgotten."""
        while text not in self._seen:
            assert select.select([self._ours], [], [], 30)[0], f"waited for {text!r}, saw {self._seen!r}"
            self._seen += os.read(self._ours, 4096).decode(errors="replace")
        self._seen = self._seen.partition(text)[2]

    def type(self, text):
        os.write(self._ours, text.encode())

    def is_asking(self):
        connections = psutil.Process(self.process.pid).net_connections("tcp")
        return any(one.status == psutil.CONN_ESTABLISHED for one in connections)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
