"""A caller's template of a prompt: text in which `{{field}}` stands for a field of the row; light to import.

Called by the checks of a request, and by templates.py, which renders rows and questions alike by it.

A place is two braces round letters (a-z, A-Z), digits and `_`, nothing else: `{{ input }}`, `{{}}` and `{input}` are
text. One pass: braces and backslashes that stand in the data stay what they are. It is no program: nothing is
computed, looked up or called, and its size and the number of its places are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gyropilot.errors import Fault, InvalidRequest

INPUT = "input"
"""The field that a question at an endpoint gives."""
MAX_BYTES = 64 * 1024
MAX_PLACES = 64
"""Every one of them may hold a whole row."""
_EXAMPLE = "write a text such as 'Complaint: {{input}} Label:'"
_PLACE = re.compile(r"\{\{([A-Za-z0-9_]+)\}\}")


def faults(template: object, *, where: str) -> list[Fault]:
    """Give what is wrong with a template, as `where` names it; empty where it can be used."""
    if not isinstance(template, str):
        return [Fault(where=where, found=template, problem="is not a text", fix=_EXAMPLE)]
    places = _PLACE.findall(template)
    if not places:
        problem = "holds no {{field}}, so every row would read the same"
        return [Fault(where=where, found=template[:80], problem=problem, fix=_EXAMPLE)]
    found = []
    size = _size(template)
    if size is None:
        found.append(Fault(where=where, problem="is no Unicode text: it holds half a surrogate pair", fix=_EXAMPLE))
    elif size > MAX_BYTES:
        problem = f"is longer than {MAX_BYTES} bytes"
        found.append(Fault(where=where, found=f"{size} bytes", problem=problem, fix="shorten it"))
    if len(places) > MAX_PLACES:
        problem = f"has more than {MAX_PLACES} places for fields"
        found.append(Fault(where=where, found=len(places), problem=problem, fix="name fields fewer times"))
    return found


def fields(template: str) -> tuple[str, ...]:
    """Give the fields that a template names, each once, in the order of their first places."""
    return tuple(dict.fromkeys(_PLACE.findall(template)))


def place_count(template: str) -> int:
    """Give how many places a template has; a field may stand at several."""
    return len(_PLACE.findall(template))


def render(template: str, values: Mapping[str, str]) -> str:
    """Give the template with the values of its fields in their places.

    Raises:
        InvalidRequest: a field has no value; names all that have none.
    """
    return "".join(values[part] if is_field else part for part, is_field in pieces(template, values))


def pieces(template: str, values: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Give the template in pieces, in order: a text of its own and False, or the name of a field and True.

    Raises:
        InvalidRequest: a field has no value; names all that have none.
    """
    missing = [name for name in fields(template) if name not in values]
    if missing:
        raise InvalidRequest.of(
            Fault(where=name, problem="has no value, and the prompt template names it", fix=f"give the field {name}")
            for name in missing
        )
    parts = _PLACE.split(template)
    return [(part, bool(at % 2)) for at, part in enumerate(parts) if part]


def _size(text: str) -> int | None:
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return None
