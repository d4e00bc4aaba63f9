"""The search of a tabular job: trials of growing ensembles, or a study of pipelines, by the mode that profile chose."""

from __future__ import annotations

from collections.abc import Mapping

from gyropilot.problems.contract import Json, Search, Spec
from gyropilot.problems.tabular.ensembling import plan
from gyropilot.problems.tabular.request import TabularSpec


def open_search(spec: Spec, profile: Mapping[str, Json]) -> Search:
    """Open the search over `spec`; `profile` is what data.profile returned, the mode among it."""
    assert isinstance(spec, TabularSpec)
    if profile["mode"] == "ENSEMBLING":
        return plan.open_search(spec, profile)
    from gyropilot.problems.tabular.hpo import search as hpo_search

    return hpo_search.open_search(spec, profile)
