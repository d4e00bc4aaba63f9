"""The generated types are those of the service model."""

import importlib.util
from pathlib import Path

from gyropilot.wire import types

ROOT = Path(__file__).parents[2]


def test_the_module_is_what_the_tool_writes():
    spec = importlib.util.spec_from_file_location("wire_types", ROOT / "tools" / "wire_types.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.TARGET.read_text(encoding="utf-8") == tool.written()


def test_required_members_are_required():
    assert types.CreateAutoMLJobV2Response.__required_keys__ == {"AutoMLJobArn"}
    assert "Tags" in types.CreateAutoMLJobV2Request.__annotations__
