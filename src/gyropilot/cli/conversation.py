"""`gyropilot try`: a conversation in the terminal with an endpoint of texts, or of tables, through the sdk."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from gyropilot.cli import completing, options, watch
from gyropilot.cli.endpoint_trouble import told
from gyropilot.cli.row_talk import RowTalk
from gyropilot.cli.typed_lines import TypedLines
from gyropilot.log import printable
from gyropilot.sdk.chat import Chat
from gyropilot.sdk.errors import BrokenOff, Refused, ServiceError

Json = Any

_NOT_TEXT = "model_not_for_text"
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
    """Chat with a text ENDPOINT, which hears the whole conversation each time; or have one of tables predict rows.

    Lines of standard input are what is said, one line a turn: in a pipe too, where the answers alone are printed.
    /system TEXT and /reset begin anew, /exit ends; Ctrl-C ends the answer that is coming, not the conversation.
    For an endpoint of tables each line is a row: its features as CSV, or a JSON object with them by name.
    """
    given = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    client = watch.connect(home)
    chat = client.chat(endpoint, system=system, options={name: it for name, it in given.items() if it is not None})
    is_interactive = sys.stdin.isatty()
    lines = TypedLines(is_interactive=is_interactive)
    with told(client, endpoint):
        if _is_for_text(chat):
            _Conversation(chat, lines, is_interactive=is_interactive).hold()
        elif system or any(given.values()):
            raise click.UsageError(f"{endpoint} answers rows of a table; the options are for text.")
        else:
            RowTalk(client, endpoint, lines.read, is_interactive=is_interactive).hold()


def _is_for_text(chat: Chat) -> bool:
    try:
        chat.check()
    except Refused as error:
        if error.code == _NOT_TEXT:
            return False
        raise
    return True


class _Conversation:
    """What is typed and what is answered, turn by turn."""

    def __init__(self, chat: Chat, lines: TypedLines, *, is_interactive: bool) -> None:
        self._chat, self._lines = chat, lines
        self._is_interactive = is_interactive

    def hold(self) -> None:
        """Answer line after line until there are no more.

        Raises:
            ServiceError: nobody is there to be asked again, and the endpoint did not answer.
        """
        self._note(f"Talking with {self._chat.endpoint}.  /help says more, /exit ends.")
        while (line := self._lines.read()) is not None and line != "/exit":
            if line.startswith("/"):
                self._command(line)
            elif line:
                self._turn(line)

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
