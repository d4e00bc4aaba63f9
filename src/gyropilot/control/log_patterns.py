"""Filter patterns of CloudWatch Logs, as far as they are words: what a line must hold, and what it must not.

error            holds error; letter case counts
"out of memory"  holds the phrase
error -retry     holds error and not retry
?warn ?error     holds one of them
"""

from __future__ import annotations

import re
from collections.abc import Callable

from gyropilot.errors import InvalidRequest

_TERM = re.compile(r'([-?]?)(?:"((?:[^"\\]|\\.)*)"|([\w.:/@#=+*-]+))(?:\s+|$)')
_HELP = 'write words or "phrases" that a line must hold, -word for what it must not, ?a ?b for one of several'


def read(pattern: str) -> Callable[[str], bool]:
    """Give the test that a line has to pass; the empty pattern lets all pass.

    Raises:
        InvalidRequest: the pattern is of a kind that is not read here: JSON, columns, regular expressions.
    """
    wanted, unwanted, any_of = list[str](), list[str](), list[str]()
    place, text = 0, pattern.strip()
    while place < len(text):
        term = _TERM.match(text, place)
        if term is None:
            raise InvalidRequest(
                where="filterPattern", found=pattern, problem="is a kind of pattern that is not read here", fix=_HELP
            )
        held = re.sub(r"\\(.)", r"\1", term[2]) if term[2] is not None else term[3]
        {"": wanted, "-": unwanted, "?": any_of}[term[1]].append(held)
        place = term.end()

    def passes(line: str) -> bool:
        if any(one in line for one in unwanted) or not all(one in line for one in wanted):
            return False
        return not any_of or any(one in line for one in any_of)

    return passes
