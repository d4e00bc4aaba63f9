"""`gyropilot try`: a conversation with a text endpoint in the terminal, through the sdk."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path
from typing import Any

import click

from gyropilot.cli import completing, options, watch
from gyropilot.cli.endpoint_trouble import told
from gyropilot.log import printable
from gyropilot.sdk.chat import Chat
from gyropilot.sdk.errors import BrokenOff, Refused, ServiceError

Json = Any

_HELP = (
    "/system TEXT  begin anew, with TEXT as what the model is told first; /system alone: with nothing\n"
    "/reset        begin anew\n"
    "/exit         end, as Ctrl-D does; Ctrl-C ends the answer that is coming"
)


@click.command("try")
@click.argument("endpoint", shell_complete=completing.endpoints)
@click.option("--system", metavar="TEXT", default="", help="What the model is told first.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Most tokens of an answer.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default="0",
    help="0 takes the likeliest token, more draws more freely.",
)
@click.option("--seed", type=int, help="The same drawing for the same question, where --temperature is above 0.")
@options.home
def conversation(
    endpoint: str,
    *,
    system: str,
    max_tokens: int | None,
    temperature: float,
    seed: int | None,
    home: Path | None,
) -> None:
    """Chat with a text ENDPOINT; it hears the whole conversation each time.

    Lines of standard input are what is said, one line a turn: in a pipe too, where the answers alone are printed.
    /system TEXT and /reset begin anew, /exit ends; Ctrl-C ends the answer that is coming, not the conversation.
    """
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    client = watch.connect(home)
    chat = client.chat(endpoint, system=system, options={name: it for name, it in given.items() if it is not None})
    with told(client, endpoint):
        chat.check()
        _Conversation(chat, is_interactive=sys.stdin.isatty()).hold()


class _Conversation:
    """What is typed and what is answered, turn by turn."""

    def __init__(self, chat: Chat, *, is_interactive: bool) -> None:
        self._chat = chat
        self._is_interactive = is_interactive

    def hold(self) -> None:
        """Answer line after line until there are no more.

        Raises:
            ServiceError: nobody is there to be asked again, and the endpoint did not answer.
        """
        self._note(f"Talking with {self._chat.endpoint}.  /help says more, /exit ends.")
        if self._is_interactive:
            with contextlib.suppress(ImportError):
                importlib.import_module("readline")  # its mere presence gives input() history and editing
        while (line := self._read()) is not None and line != "/exit":
            if line.startswith("/"):
                self._command(line)
            elif line:
                self._turn(line)

    def _read(self) -> str | None:
        """Give the next line; None at the end."""
        while True:
            try:
                return input("> " if self._is_interactive else "").strip()
            except EOFError:
                self._note("")
                return None
            except KeyboardInterrupt:
                if not self._is_interactive:
                    raise
                self._note("\n/exit or Ctrl-D ends.")

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name == "/system":
            self._chat.reset(system=rest.strip())
        elif name == "/reset":
            self._chat.reset(system=next((it["content"] for it in self._chat.messages if it["role"] == "system"), ""))
        elif name in ("/help", "/?"):
            click.echo(_HELP, err=True)
            return
        else:
            click.echo(f"there is no {printable(name)}; there are:\n{_HELP}", err=True)
            return
        self._note("Begun anew.")

    def _turn(self, text: str) -> None:
        try:
            self._answer(text)
        except KeyboardInterrupt:
            click.echo()
            self._note("(ended by Ctrl-C)")
        except BrokenOff as error:
            click.echo()
            self._complain(error)
        except ServiceError as error:
            self._complain(error)

    def _answer(self, text: str) -> None:
        parts = self._chat.say(text)
        with contextlib.closing(parts):
            for part in parts:
                click.echo(printable(part), nl=False)
                sys.stdout.flush()
        click.echo()
        if self._chat.finish_reason == "length":
            self._note("(cut off: the most tokens of an answer; --max-tokens gives more)")

    def _complain(self, error: ServiceError) -> None:
        """Say what went wrong, where somebody sits who can go on; a pipe ends with it."""
        if not self._is_interactive:
            raise error
        mend = "" if not isinstance(error, Refused) or error.status >= 500 else "; /reset begins anew"
        click.echo(f"gyropilot: {printable(str(error))}{mend}", err=True)

    def _note(self, text: str) -> None:
        if self._is_interactive:
            click.echo(text, err=True)
