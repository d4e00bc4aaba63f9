"""Writes src/gyropilot/wire/types.py from the service model: one TypedDict a structure, one Literal an enum.

python tools/wire_types.py            writes the file
python tools/wire_types.py --check    fails if the file is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from gyropilot.wire import service_model
from gyropilot.wire.service_model import Shape

OPERATIONS = (
    "CreateAutoMLJob",
    "CreateAutoMLJobV2",
    "DescribeAutoMLJob",
    "DescribeAutoMLJobV2",
    "ListAutoMLJobs",
    "ListCandidatesForAutoMLJob",
    "StopAutoMLJob",
    "AddTags",
    "ListTags",
    "DeleteTags",
)
TARGET = Path(__file__).parents[1] / "src" / "gyropilot" / "wire" / "types.py"

_HEADER = '''\
"""The wire's structures as types. Written by tools/wire_types.py from the service model; do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, NotRequired, TypedDict
'''
_PLAIN = {
    "string": "str",
    "integer": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "boolean": "bool",
    "timestamp": "datetime",
}
_LINE = 120


def written() -> str:
    """Give the text of the module."""
    model = service_model.load("sagemaker", lambda name: name in OPERATIONS)
    roots = [shape for one in model.operations.values() for shape in (one.input, one.output) if shape is not None]
    shapes = sorted(service_model.shapes_below(roots).values(), key=lambda shape: shape.name)
    enums = [_enum(shape) for shape in shapes if shape.enum]
    structures = [_structure(shape) for shape in shapes if shape.kind == "structure"]
    return f"{_HEADER}\n{''.join(enums)}\n\n" + "\n\n".join(structures)


def _enum(shape: Shape) -> str:
    values = [f'"{value}"' for value in shape.enum]
    line = f"{shape.name} = Literal[{', '.join(values)}]\n"
    if len(line) - 1 <= _LINE:
        return line
    return f"{shape.name} = Literal[\n" + "".join(f"    {value},\n" for value in values) + "]\n"


def _structure(shape: Shape) -> str:
    lines = [f"class {shape.name}(TypedDict):", f'    """{shape.name} of the service model."""', ""]
    for name, member in shape.members.items():
        hint = _hint(member)
        lines.append(f"    {name}: {hint if name in shape.required else f'NotRequired[{hint}]'}")
    return "\n".join(lines).rstrip() + "\n"


def _hint(shape: Shape) -> str:
    if shape.enum or shape.kind == "structure":
        return shape.name
    if shape.kind == "list":
        return f"Sequence[{_hint(shape.parts['member'])}]"
    if shape.kind == "map":
        return f"Mapping[{_hint(shape.parts['key'])}, {_hint(shape.parts['value'])}]"
    return _PLAIN[shape.kind]


def main(arguments: list[str]) -> int:
    """Write or check the module; gives the exit status."""
    text = written()
    if arguments == ["--check"]:
        return 0 if TARGET.read_text(encoding="utf-8") == text else 1
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
