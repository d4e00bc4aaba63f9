"""`gyropilot invoke`: one call to an endpoint, through the sdk."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import click

from gyropilot.cli import completing, options, watch
from gyropilot.cli.endpoint_trouble import told
from gyropilot.log import printable
from gyropilot.sdk.invocations import JSON_TYPE

Json = Any

_TYPES = {
    ".csv": "text/csv",
    ".json": JSON_TYPE,
    ".jsonl": "application/jsonlines",
    ".txt": "text/plain",
    ".parquet": "application/x-parquet",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}


@click.command()
@click.argument("endpoint", shell_complete=completing.endpoints)
@click.option("--text", metavar="TEXT", help='Sends the JSON {"inputs": TEXT}, as text generation takes it.')
@click.option(
    "--set",
    "parameters",
    metavar="KEY=VALUE",
    multiple=True,
    help="One of the parameters beside --text, as max_new_tokens=50.",
)
@click.option(
    "--row",
    "rows",
    metavar="FEATURES",
    multiple=True,
    help='A row of a table as CSV, as "12.5,basic,,2024-03-01": the features in training order.',
)
@click.option(
    "--file", "file", type=click.File("rb"), metavar="FILE", help="Sends the file; - or nothing is standard input."
)
@click.option(
    "--content-type", metavar="TYPE", help="What is sent.  [default: by the file's name, else application/json]"
)
@click.option("--accept", metavar="TYPE", default="", help="What is wanted back.  [default: what the model prefers]")
@click.option(
    "--stream",
    is_flag=True,
    help='Print the answer as it comes; sets "stream": true in --text, and in a JSON object that says nothing of it.',
)
@options.home
def invoke(
    endpoint: str,
    *,
    text: str | None,
    parameters: tuple[str, ...],
    rows: tuple[str, ...],
    file: BinaryIO | None,
    content_type: str | None,
    accept: str,
    stream: bool,
    home: Path | None,
) -> None:
    """Send one request to ENDPOINT and print its answer as it is.

    \b
    gyropilot invoke my-endpoint --text "Hello" --set max_new_tokens=50
    gyropilot invoke my-endpoint --row 12.5,basic,,2024-03-01
    gyropilot invoke my-endpoint --file rows.csv --accept application/json
    """
    if (text is not None or rows) and (file is not None or content_type is not None):
        raise click.UsageError(
            "--text and --row make the whole request; give --file and --content-type, or one of them."
        )
    if text is not None and rows:
        raise click.UsageError("--text is for endpoints of text, --row for those of tables; give one of them.")
    if text is None and parameters:
        raise click.UsageError("--set goes with --text; a request of your own holds its parameters itself.")
    body, kind = ("\n".join(rows).encode(), _TYPES[".csv"]) if rows else _request(text, parameters, file)
    if stream and (content_type or kind).partition(";")[0].strip().lower() == JSON_TYPE:
        body = _streaming(body)
    client, write = watch.connect(home), _writer()
    with told(client, endpoint):
        if stream:
            answer = client.invoke_stream(endpoint, body, content_type=content_type or kind, accept=accept)
            for part in answer.parts:
                write(part)
        else:
            write(client.invoke(endpoint, body, content_type=content_type or kind, accept=accept).body)
    if sys.stdout.isatty():
        click.echo()


def _request(text: str | None, parameters: Sequence[str], file: BinaryIO | None) -> tuple[bytes, str]:
    """Give the body and its content type."""
    if text is not None:
        body = {"inputs": text} | ({"parameters": _parameters(parameters)} if parameters else {})
        return json.dumps(body, ensure_ascii=False).encode(), JSON_TYPE
    source = sys.stdin.buffer if file is None else file
    if source.isatty():
        raise click.UsageError("Give --text, --row, --file, or the request on standard input.")
    return source.read(), _TYPES.get(Path(str(getattr(source, "name", ""))).suffix.lower(), JSON_TYPE)


def _streaming(body: bytes) -> bytes:
    """Give a JSON object that asks for its answer part by part, unless it says itself; anything else as it is."""
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(read, dict) or "stream" in read:
        return body
    start = body.index(b"{") + 1  # numbers and texts stay as they were written
    return body[:start] + (b'"stream": true, ' if read else b'"stream": true') + body[start:]


def _parameters(given: Sequence[str]) -> dict[str, Json]:
    """Give what KEY=VALUE says; a value is JSON where it reads as such, else a text."""
    found: dict[str, Json] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{one!r} is not KEY=VALUE", param_hint="--set")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _writer() -> Callable[[bytes], None]:
    """Give what prints bytes: into a file or pipe as they are, onto a terminal as text that cannot steer it."""
    if sys.stdout.isatty():
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        return lambda data: click.echo(printable(decoder.decode(data)), nl=False)
    out = sys.stdout.buffer

    def write(data: bytes) -> None:
        out.write(data)
        out.flush()

    return write
