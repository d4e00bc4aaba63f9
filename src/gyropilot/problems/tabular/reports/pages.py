"""HTML pages of reports: each needs nothing else, no network; plotly draws its figures from the page's own text.

Only two scripts may run, plotly's and the few lines that hand it the figures: the page's policy names them by digest.
Figures lie beside them as JSON, which nothing executes. Every value is escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from gyropilot.log import printable
from gyropilot.problems.contract import Json

_DRAW = """
for (const place of document.querySelectorAll("div[data-figure]")) {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  Plotly.newPlot(place, figure.data, figure.layout, {displayModeBar: false, responsive: true});
}
"""
_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e6e8eb); --soft: light-dark(#5c6670, #9aa4ae);
  --line: light-dark(#d9dee3, #3a424a); --card: light-dark(#f5f7f9, #20262c); --page: light-dark(#fff, #14181c);
  --mark: light-dark(#0b6bcb, #6cb2ff); --warn: light-dark(#b3541e, #f0a36b); }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
.sub, .note { color: var(--soft); } .note { font-size: .9rem; }
.verdict { background: var(--card); border-left: 4px solid var(--mark); padding: .8rem 1rem; margin: 1.2rem 0; }
.watch { border-left-color: var(--warn); }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); font-size: .85rem; } td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; } td { overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(27rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { color: var(--soft); font-size: .9rem; }
"""


class Markup(str):
    """Text that is already escaped."""


class Page:
    """A page in the making: parts are added from top to bottom."""

    def __init__(self, title: str, subtitle: str) -> None:
        self._title = title
        self._parts = [f"<h1>{text(title)}</h1>", f'<p class="sub">{text(subtitle)}</p>']
        self._figures = 0

    def heading(self, told: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{text(told)}</h2>")

    def paragraph(self, told: str, *, kind: str = "") -> None:
        """Add a paragraph; of the kind "note", "verdict" or "verdict watch" it stands out."""
        self._parts.append(f'<p class="{kind}">{text(told)}</p>')

    def items(self, told: Iterable[str]) -> None:
        """Add a list."""
        self._parts.append("<ul>" + "".join(f"<li>{text(one)}</li>" for one in told) + "</ul>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> None:
        """Add a table; columns at `numbers` are set to the right."""

        def cell(tag: str, place: int, value: str) -> str:
            kind = ' class="n"' if place in numbers else ""
            return f"<{tag}{kind}>{value if isinstance(value, Markup) else text(value)}</{tag}>"

        top = "".join(cell("th", place, value) for place, value in enumerate(head))
        body = "".join(f"<tr>{''.join(cell('td', at, value) for at, value in enumerate(row))}</tr>" for row in rows)
        self._parts.append(f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>')

    def figures(self, drawn: Sequence[tuple[Mapping[str, Json], str]]) -> None:
        """Add figures side by side where there is room, each with the sentence below it."""
        self._parts.append('<div class="figures">')
        for figure, caption in drawn:
            name = f"figure-{self._figures}"
            self._figures += 1
            content = json.dumps(figure, allow_nan=False).replace("<", "\\u003c")
            self._parts.append(
                f'<figure><div data-figure="{name}"></div><figcaption>{text(caption)}</figcaption></figure>'
                f'<script type="application/json" id="{name}">{content}</script>'
            )
        self._parts.append("</div>")

    def html(self) -> str:
        """Give the whole page."""
        scripts = [_plotly(), _DRAW] if self._figures else []
        allowed = " ".join(f"'sha256-{_digest(one)}'" for one in scripts) or "'none'"
        policy = (
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:;"
            " base-uri 'none'; form-action 'none'"
        )
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
            f'<meta name="viewport" content="width=device-width"><title>{text(self._title)}</title>'
            f"<style>{_STYLE}</style></head><body>{''.join(self._parts)}"
            f"{''.join(f'<script>{one}</script>' for one in scripts)}</body></html>\n"
        )


def text(value: str) -> str:
    """Give text fit for a page: markup escaped, control and direction-changing characters written out."""
    return escape(printable(value), quote=True)


def number(value: float | str) -> str:
    """Give a number as people read it: four digits that count, or the whole ones of a large number; "NaN" as it is."""
    if isinstance(value, str):
        return value
    if 1e3 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # A page's parser ends a script at the first end tag, wherever in the text it stands.
    return str(get_plotlyjs()).replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
