"""The command `gyropilot`: names its commands; each lives in a file of its own, imported when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.metadata import version
from typing import NoReturn

import click

from gyropilot.errors import GyropilotError
from gyropilot.log import printable
from gyropilot.sdk.errors import ServiceError

SUMMARIES = {
    "up": "Start the service: API, S3 door and worker in one process.",
    "api": "Start a process that answers calls, beside others on PostgreSQL.",
    "worker": "Start a process that works on jobs, beside others on PostgreSQL.",
    "serve": "Start a process that keeps the replicas of endpoints, beside others on PostgreSQL.",
    "env": "Print the exports that point AWS clients at the running service.",
    "jobs": "Create, list, show, watch and stop jobs; fetch what they made.",
    "tune": "Tune a language model on a file of rows, with or without a running service.",
    "deploy": "Serve the best model of a job as an endpoint.",
    "endpoints": "List, show and delete endpoints, and read their logs.",
    "invoke": "Send one request to an endpoint.",
    "try": "Chat with a text endpoint, or have one of tables predict rows.",
    "transform": "Have a model answer every record of objects in a bucket.",
    "transforms": "List, show and stop batch transforms, and read their logs.",
    "keys": "Make, list and revoke access keys.",
    "roles": "Make, list, show and remove the roles of jobs.",
    "models": "List, show, pull, add and remove base models; let small ones stand in for big ones.",
    "prompts": "Train, import, list, show and remove source prompts, for multitask prompt tuning.",
    "doctor": "Check this machine and home, and say what to mend.",
    "completion": "Print the script by which a shell completes commands.",
}
"""What `gyropilot --help` says of each command; here, so that help imports none of them."""

_PLACES = {"try": "conversation"}
"""The file and function of commands whose names no function may bear."""


class _LateGroup(click.Group):
    """A group that imports a command, `gyropilot.cli.<name>:<name>`, when it is named; see `_PLACES`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            return None
        place = _PLACES.get(cmd_name, cmd_name)
        found: click.Command = getattr(importlib.import_module(f"gyropilot.cli.{place}"), place)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("gyropilot"), prog_name="gyropilot", message="%(prog)s %(version)s")
def gyropilot() -> None:
    """Fine-tune and train models by the calls of SageMaker Autopilot, on this machine.

    \b
    Start the service in one terminal, use it from another:
      gyropilot up
      eval "$(gyropilot env)"
      aws sagemaker list-auto-ml-jobs

    Exit codes: 0 done, 1 it failed, 2 the command was wrong.
    """


def main() -> NoReturn:
    """Run the command line; a failure is one line that says what to do."""
    # Whatever a command writes is for its owner only.
    os.umask(0o077)
    try:
        status = gyropilot.main(standalone_mode=False, prog_name="gyropilot")
    except click.exceptions.Abort:
        status = _complain("interrupted", 130)
    except click.UsageError as error:
        status = _wrong_usage(error)
    except click.ClickException as error:
        status = _complain(error.format_message(), error.exit_code)
    except (GyropilotError, ServiceError) as error:
        status = _complain(str(error), 1)
    except BrokenPipeError:
        # The reader of our output, as `head`, has seen enough; keep the interpreter from complaining at exit.
        sys.stderr.close()
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _wrong_usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return 2
    place = error.ctx.command_path if error.ctx else "gyropilot"
    return _complain(f"{error.format_message()} See: {place} --help", 2)


def _complain(message: str, status: int) -> int:
    click.echo(f"gyropilot: {printable(' | '.join(message.splitlines()))}", err=True)
    return status
