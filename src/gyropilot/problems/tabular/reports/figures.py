"""The figures of reports, as the JSON that plotly draws: data in, no page and no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from gyropilot.log import printable
from gyropilot.problems.contract import Json

Figure = dict[str, Json]
BLUE, ORANGE, GREY = "#2a7fd4", "#d9773c", "#8a949e"
_NAME_CHARACTERS, _TITLE_CHARACTERS = 32, 48


def lines(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    unit_square: bool = True,
    reference: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Figure:
    """Give curves, and a dotted one to compare them with.

    Args:
        curves: name, x values and y values of each.
        x: title of the axis.
        y: title of the axis.
        unit_square: both axes go from 0 to 1.
        reference: what guessing would give.
    """
    colours = (BLUE, ORANGE, GREY)
    data: list[Json] = [
        {"type": "scatter", "mode": "lines", "name": label(name), "x": list(across), "y": list(up)}
        | {"line": {"color": colours[place % 3], "width": 2}}
        for place, (name, across, up) in enumerate(curves)
    ]
    if reference:
        data.append(
            {"type": "scatter", "mode": "lines", "name": "guessing", "x": list(reference[0]), "y": list(reference[1])}
            | {"line": {"color": GREY, "width": 1, "dash": "dot"}}
        )
    span = {"range": [-0.01, 1.02]} if unit_square else {"rangemode": "tozero"}
    return _figure(data, xaxis=_axis(x) | span, yaxis=_axis(y) | span)


def matrix(counts: Sequence[Sequence[float | None]], names: Sequence[str], *, x: str, y: str) -> Figure:
    """Give counts as coloured squares with the numbers in them, each row coloured by its shares.

    Args:
        counts: [row, column]; None where a row has nothing to count.
        names: of rows and of columns.
        x: title of the columns.
        y: title of the rows.
    """
    totals = [sum(one or 0 for one in row) for row in counts]
    shares = [
        [None if one is None or not total else one / total for one in row]
        for row, total in zip(counts, totals, strict=True)
    ]
    written = [["" if one is None else f"{one:g}" for one in row] for row in counts]
    heat: Json = {
        "type": "heatmap",
        "z": shares,
        "zmin": 0,
        "zmax": 1,
        "text": written,
        "texttemplate": "%{text}",
        "hovertemplate": "actual %{y}, predicted %{x}: %{text} (%{z:.1%})<extra></extra>",
        "colorscale": [[0, "#eef4fb"], [1, BLUE]],
        "showscale": False,
    }
    ticks = {"tickvals": list(range(len(names))), "ticktext": [label(one) for one in names]}
    return _figure([heat], xaxis=_axis(x) | ticks, yaxis=_axis(y) | ticks | {"autorange": "reversed"})


def points(across: Sequence[float], up: Sequence[float], *, x: str, y: str, line: Sequence[float]) -> Figure:
    """Give a cloud of points, and a dotted line from (line[0], line[1]) to (line[2], line[3])."""
    data: list[Json] = [
        {"type": "scatter", "mode": "markers", "x": list(across), "y": list(up), "name": "rows"}
        | {"marker": {"color": BLUE, "size": 5, "opacity": 0.5}},
        {"type": "scatter", "mode": "lines", "x": [line[0], line[2]], "y": [line[1], line[3]], "name": "perfect"}
        | {"line": {"color": GREY, "dash": "dot"}},
    ]
    return _figure(data, xaxis=_axis(x), yaxis=_axis(y), showlegend=False)


def histogram(edges: Sequence[float], counts: Mapping[str, Sequence[float]], *, x: str, y: str) -> Figure:
    """Give bars between edges; of several series one over the other, half transparent."""
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    widths = [high - low for low, high in pairwise(edges)]
    data: list[Json] = [
        {"type": "bar", "x": middles, "y": list(values), "width": widths, "name": label(name)}
        | {"marker": {"color": colour, "opacity": 0.65}}
        for (name, values), colour in zip(counts.items(), (BLUE, ORANGE, GREY) * len(counts), strict=False)
    ]
    return _figure(data, xaxis=_axis(x), yaxis=_axis(y), barmode="overlay", showlegend=len(counts) > 1)


def bars(values: Sequence[tuple[str, float]], *, x: str) -> Figure:
    """Give lying bars, the first on top."""
    bar: Json = {
        "type": "bar",
        "orientation": "h",
        "x": [value for _, value in values],
        "y": list(range(len(values))),
        "text": [f"{value:,.0f}" if 1e3 <= abs(value) < 1e12 else f"{value:.3g}" for _, value in values],
        "marker": {"color": BLUE},
        "hovertemplate": "%{text}<extra></extra>",
    }
    ticks = {"tickvals": list(range(len(values))), "ticktext": [label(name) for name, _ in values]}
    height = 120 + 30 * len(values)
    return _figure([bar], xaxis=_axis(x), yaxis=_axis("") | ticks | {"autorange": "reversed"}, height=height)


def label(name: str, most: int = _NAME_CHARACTERS) -> str:
    """Give a name as plotly is to write it: its markup taken literally, what cannot be printed written out, cut."""
    shown = printable(name).replace("\n", "\\n")
    cut = shown if len(shown) <= most else shown[: most - 1] + "…"
    return escape(cut, quote=False)


def _axis(title: str) -> dict[str, Json]:
    return {
        "title": {"text": label(title, _TITLE_CHARACTERS)},
        "automargin": True,
        "gridcolor": "rgba(138,148,158,.25)",
        "zerolinecolor": "rgba(138,148,158,.5)",
    }


def _figure(data: Sequence[Json], **layout: Json) -> Figure:
    look = {
        "height": 380,
        "margin": {"l": 60, "r": 16, "t": 16, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": GREY, "size": 12},
        "legend": {"orientation": "h", "y": 1.08},
    }
    return {"data": list(data), "layout": look | layout}
