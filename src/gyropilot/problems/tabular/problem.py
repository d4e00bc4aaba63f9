"""Tables as the catalog sees them: predict one column of a table from the others, by class or by number."""

from __future__ import annotations

from gyropilot.problems.contract import Problem, Report, Spec
from gyropilot.problems.tabular import request, search
from gyropilot.problems.tabular.serving import environment


def _extra_inputs(spec: Spec) -> tuple[str, ...]:
    assert isinstance(spec, request.TabularSpec)
    return spec.extra_inputs


TABULAR = Problem(
    wire_name="TabularJobConfig",
    config_name="Tabular",
    extra="tabular",
    modules=(
        *("autogluon", "beartype", "catboost", "fastcore", "fastprogress", "joblib", "lightgbm", "nbformat", "numpy"),
        *("optuna", "pandas", "plotly", "plum", "pyarrow", "scipy", "shap", "sklearn", "torch", "xgboost"),
    ),
    read_request=request.read,
    read_spec=request.read_spec,
    resolved_attributes=request.resolved_attributes,
    resolved_by_profile=request.resolved_by_profile,
    unknown_names=request.unknown_names,
    open_search=search.open_search,
    profile="gyropilot.problems.tabular.data:profile",
    train="gyropilot.problems.tabular.train:train",
    open_server="gyropilot.problems.tabular.inference:open_server",
    image="gyropilot/tabular",
    extra_inputs=_extra_inputs,
    reports=(
        Report(
            name="explainability report",
            function="gyropilot.problems.tabular.reports.explainability:explain",
            status="GeneratingExplainabilityReport",
            failed_status="ExplainabilityError",
        ),
        Report(
            name="model insights report",
            function="gyropilot.problems.tabular.reports.model_insights:report",
            status="GeneratingModelInsightsReport",
            failed_status="ModelInsightsError",
        ),
    ),
    # A trial ends itself before its time is over: what is left after that is only to end.
    grace_seconds=10.0,
    longest_grace_seconds=10.0,
    profile_status="AnalyzingData",
    train_status="ModelTuning",
    # Feature transform, algorithm, inverse label transform.
    most_containers=3,
    container_role=environment.role_of,
    chain_faults=environment.chain_faults,
    takes=("text/csv", "application/json", "application/jsonlines"),
)
