"""`gyropilot completion`: the script by which a shell completes commands, options and names."""

from __future__ import annotations

from typing import Literal

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

_VARIABLE = "_GYROPILOT_COMPLETE"
_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_INSTALL = {
    "bash": "gyropilot completion bash > ~/.local/share/bash-completion/completions/gyropilot",
    "zsh": "gyropilot completion zsh > a folder of your $fpath, as _gyropilot",
    "fish": "gyropilot completion fish > ~/.config/fish/completions/gyropilot.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the script that makes SHELL complete commands and options.

    \b
    eval "$(gyropilot completion bash)"       for this shell
    gyropilot completion fish > ~/.config/fish/completions/gyropilot.fish
    """
    complete = _SHELLS[shell](context.find_root().command, {}, "gyropilot", _VARIABLE)
    click.echo((complete.source_template % complete.source_vars()).rstrip())
    click.echo(f"# For all shells to come: {_INSTALL[shell]}")
