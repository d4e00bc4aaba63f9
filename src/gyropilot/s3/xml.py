"""XML of the S3 protocol: written from nested elements, read without document types and shallow."""

from __future__ import annotations

import re
from xml.etree import ElementTree
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

_MAX_DEPTH = 8
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]")


class Malformed(Exception):
    """A text is not XML as clients of S3 send it."""


def element(name: str, *content: object) -> ElementTree.Element:
    """Give an element that holds elements, or the text of anything else; True and False in small letters."""
    made = ElementTree.Element(name)
    for one in content:
        if isinstance(one, ElementTree.Element):
            made.append(one)
        else:
            made.text = str(one).lower() if isinstance(one, bool) else str(one)
    return made


def written(root: ElementTree.Element, *, namespace: str = NAMESPACE) -> bytes:
    """Give the document of `root`."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_text(root, attribute)}'.encode()


def read(body: bytes) -> ElementTree.Element:
    """Give the root of a document, names without namespaces.

    Raises:
        Malformed: it is not UTF-8 XML, declares a document type, or is deeper than any request.
    """
    parser = ElementTree.XMLParser(target=_Shallow())
    try:
        parser.feed(body.decode("utf-8-sig"))  # as text, so that no declared encoding can hide a document type
        root: ElementTree.Element = parser.close()
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise Malformed(str(error)) from error
    return root


def _text(one: ElementTree.Element, attribute: str) -> str:
    inner = "".join(_text(child, "") for child in one) or _CONTROL.sub(_reference, escape(one.text or ""))
    return f"<{one.tag}{attribute}>{inner}</{one.tag}>"


def _reference(match: re.Match[str]) -> str:
    """Write a character that XML 1.0 has no place for as S3 does; who asks for url encoding never sees it."""
    return f"&#x{ord(match[0]):x};"


class _Shallow(ElementTree.TreeBuilder):
    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise Malformed("a document type is not allowed")

    def start(self, tag: str, attributes: dict[str, str]) -> ElementTree.Element:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise Malformed(f"it is more than {_MAX_DEPTH} elements deep")
        return super().start(tag.rpartition("}")[2], attributes)

    def end(self, tag: str) -> ElementTree.Element:
        self._depth -= 1
        return super().end(tag.rpartition("}")[2])
