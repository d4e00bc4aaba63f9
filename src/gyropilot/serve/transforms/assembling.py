"""Puts the answers of one object together, in the order of their records.

AssembleWith None     one after the other, as they are
AssembleWith Line     each ends with a newline
"""

from __future__ import annotations

from gyropilot.control.transform_plans import TransformPlan


def piece(kept: bytes, plan: TransformPlan) -> bytes:
    """Give what is written for one payload, of what is kept of its answer."""
    if plan.assemble == "None" or kept.endswith(b"\n"):
        return kept
    return kept + b"\n"
