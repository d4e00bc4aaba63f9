"""`gyropilot try` on an endpoint that answers rows: what is typed is a row, and its prediction follows."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from gyropilot.log import printable
from gyropilot.sdk.client import Client
from gyropilot.sdk.errors import Refused, ServiceError
from gyropilot.sdk.invocations import JSON_TYPE

CSV_TYPE = "text/csv"

_HELP = (
    "a row is the features in training order, as 12.5,basic,,2024-03-01, or an object of JSON with them by name\n"
    "/exit         end, as Ctrl-D does"
)


class RowTalk:
    """Rows as they are typed, each with what is answered."""

    def __init__(self, client: Client, endpoint: str, read: Callable[[], str | None], *, is_interactive: bool) -> None:
        """`read` gives the next line; None at the end."""
        self._client, self._endpoint, self._read = client, endpoint, read
        self._is_interactive = is_interactive

    def hold(self) -> None:
        """Answer line after line until there are no more.

        Raises:
            ServiceError: nobody is there to be asked again, and the endpoint did not answer.
        """
        if self._is_interactive:
            click.echo(f"{self._endpoint} predicts rows.  /help says more, /exit ends.", err=True)
        while (line := self._read()) is not None and line != "/exit":
            if line in ("/help", "/?"):
                click.echo(_HELP, err=True)
            elif line:
                self._answer(line)

    def _answer(self, line: str) -> None:
        kind = JSON_TYPE if line.startswith(("{", "[")) else CSV_TYPE
        try:
            answer = self._client.invoke(self._endpoint, line.encode(), content_type=kind)
        except ServiceError as error:
            if not self._is_interactive or not isinstance(error, Refused):
                raise
            click.echo(f"gyropilot: {printable(str(error))}", err=True)
        else:
            click.echo(printable(answer.body.decode(errors="replace").rstrip("\n")))
            sys.stdout.flush()
