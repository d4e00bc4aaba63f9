"""Tables: this project's jobs against AutoGluon, FLAML and a tuned LightGBM on seven real tables; run by `make bench`.

All learn from the same rows (tools/tables.py), on the same cores, in the same time, one after the other on each table;
none sees the test rows before it answers them. The answers are scored here, by scikit-learn, with the objective that
all were told to learn for: AUC, accuracy or R2.

- gyropilot: a job through boto3 on a service of its own, with ProblemType, objective and
  MaxAutoMLJobRuntimeInSeconds and nothing else; reading the data, and what of the reports it makes, are within its
  time. Its best candidate answers in a batch transform.
- autogluon: TabularPredictor.fit with the preset best_quality and the time as time_limit, in our environment; without
  its dynamic stacking, a trial fit that takes a share of the time and here ended with "Learner is already fit".
- flaml: AutoML.fit with the time as time_budget, in an environment of its own (tools/clients.py).
- lightgbm: Optuna's TPE over eight of its parameters on a fifth held out, with early stopping, for 85 % of the time;
  then the best ones on all rows.

It says on how many tables ours is best or within 0.5 % of the best; 0 is returned when it is on all but two. A table
whose answers lie below its floor (plain gradient boosting in cross-validation) is marked. The last line is the ratio.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
SETS = ("adult", "churn", "attrition", "ames", "diamonds", "hr", "stackoverflow")
PEERS = ("gyropilot", "autogluon", "flaml", "lightgbm")
NEAR = 0.005
"""So much worse than the best is as good as the best."""
TUNING_SHARE = 0.85


def main() -> int:
    """Measure and print; give 0 when ours is near the best on all but two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=120, help="that each may take on each table")
    parser.add_argument("--sets", nargs="+", default=SETS, help="tables of tools/tables.py")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="whom to compare, ours in any case")
    parser.add_argument("--rows", type=int, help="most rows to train on")
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.peers = ["gyropilot", *(one for one in PEERS[1:] if one in arguments.peers)]
    if arguments.worker:
        work(arguments)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> int:
    rows = [] if arguments.rows is None else ["--rows", str(arguments.rows)]
    run(sys.executable, str(TOP / "tools" / "tables.py"), str(folder), *arguments.sets, *rows)
    flaml = run(sys.executable, str(TOP / "tools" / "clients.py"), "flaml") if "flaml" in arguments.peers else ""
    print(f"{len(os.sched_getaffinity(0))} cores, {arguments.seconds} s each; the greater, the better")
    print(
        f"{'':<15}{'objective':<10}" + "".join(f"{peer:>16}" for peer in arguments.peers) + f"{'rank':>6}{'floor':>8}"
    )
    near, ratios = 0, []
    for name in arguments.sets:
        table = json.loads((folder / name / "table.json").read_text())
        told = {}
        for peer in arguments.peers:
            python = str(Path(flaml) / "bin" / "python") if peer == "flaml" else sys.executable
            answers = folder / f"{name}-{peer}.json"
            given = ("--worker", peer, "--table", str(folder / name), "--answers", str(answers))
            run(python, __file__, *given, "--seconds", str(arguments.seconds))
            told[peer] = json.loads(answers.read_text())
        scores = {peer: score(folder / name, table, answers) for peer, answers in told.items()}
        ratios.append(scores["gyropilot"] / max(scores.values()))
        near += ratios[-1] >= 1 - NEAR
        print(line(table, scores, told), flush=True)
    print(f"ours is best or within {NEAR:.1%} of the best on {near} of {len(arguments.sets)} tables")
    print(f"ratio to the best: least {min(ratios):.4f}, middle {sorted(ratios)[len(ratios) // 2]:.4f}")
    return 0 if near >= len(arguments.sets) - 2 else 1


def line(table: dict, scores: dict[str, float], told: dict[str, dict]) -> str:
    ours = scores["gyropilot"]
    rank = 1 + sum(one > ours for one in scores.values())
    cells = "".join(f"{scores[peer]:>9.4f}{told[peer]['seconds']:>5.0f} s" for peer in scores)
    below = " below its floor" if ours < table["floor"] else ""
    return f"{table['name']:<15}{table['objective']:<10}{cells}{rank:>6}{table['floor']:>8.3f}{below}"


def run(*command: str) -> str:
    """Run a part in a process of its own; give what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return done.stdout.strip()


def score(folder: Path, table: dict, answers: dict) -> float:
    """Give the objective on the test rows."""
    from sklearn import metrics

    with (folder / "test.csv").open(newline="", encoding="utf-8") as file:
        truth = [row[table["target"]] for row in csv.DictReader(file)]
    if table["objective"] == "R2":
        return float(metrics.r2_score([float(one) for one in truth], answers["numbers"]))
    classes, probabilities = [str(one) for one in answers["classes"]], answers["probabilities"]
    if table["objective"] == "AUC":
        return float(metrics.roc_auc_score([one == classes[1] for one in truth], [row[1] for row in probabilities]))
    likeliest = [classes[max(range(len(row)), key=row.__getitem__)] for row in probabilities]
    return float(metrics.accuracy_score(truth, likeliest))


def work(arguments: argparse.Namespace) -> None:
    """Learn the table and answer its test rows."""
    table = json.loads((arguments.table / "table.json").read_text())
    learn = {"gyropilot": gyropilot, "autogluon": autogluon, "flaml": flaml, "lightgbm": lightgbm}[arguments.worker]
    arguments.answers.write_text(json.dumps(learn(arguments.table, table, arguments.seconds)))


def gyropilot(folder: Path, table: dict, seconds: int) -> dict:
    """Create a job, wait for it, and let its best candidate answer in a batch transform."""
    command = Path(sys.executable).with_name("gyropilot")
    with tempfile.TemporaryDirectory() as home:
        environment = {name: one for name, one in os.environ.items() if not name.startswith(("AWS_", "GYROPILOT_"))}
        environment["GYROPILOT_HOME"] = home
        log = (Path(home) / "service.log").open("wb")
        service = subprocess.Popen([command, "up", "--port", "0"], env=environment, stdout=log, stderr=log)
        try:
            client = clients(command, environment)
            return job(client, folder, table, seconds)
        finally:
            service.terminate()
            service.wait(60)
            log.close()


def clients(command: Path, environment: dict[str, str]) -> dict:
    """Wait until the service answers; give boto3 clients of it."""
    import boto3

    deadline = time.monotonic() + 60
    while True:
        asked = subprocess.run([command, "env", "--json"], env=environment, capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"the service did not start: {asked.stderr}")
        time.sleep(0.2)
    os.environ.update(json.loads(asked.stdout))
    return {name: boto3.client(name) for name in ("s3", "sagemaker")}


def job(client: dict, folder: Path, table: dict, seconds: int) -> dict:
    s3, sagemaker = client["s3"], client["sagemaker"]
    s3.create_bucket(Bucket="bench")
    s3.upload_file(str(folder / "training.csv"), "bench", "training.csv")
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/training.csv"}}
    sagemaker.create_auto_ml_job_v2(
        AutoMLJobName="bench",
        AutoMLJobInputDataConfig=[{"DataSource": source}],
        OutputDataConfig={"S3OutputPath": "s3://bench/output"},
        AutoMLJobObjective={"MetricName": table["objective"]},
        AutoMLProblemTypeConfig={
            "TabularJobConfig": {
                "TargetAttributeName": table["target"],
                "ProblemType": table["problem_type"],
                "CompletionCriteria": {"MaxAutoMLJobRuntimeInSeconds": seconds},
            }
        },
        RoleArn=os.environ["GYROPILOT_ROLE_ARN"],
    )
    started = time.monotonic()
    while (described := sagemaker.describe_auto_ml_job_v2(AutoMLJobName="bench"))["AutoMLJobStatus"] == "InProgress":
        time.sleep(0.5)
    took = time.monotonic() - started
    if "BestCandidate" not in described:
        raise SystemExit(f"the job ended {described['AutoMLJobStatus']}: {described.get('FailureReason')}")
    return {"seconds": took, **answered(s3, sagemaker, folder, table, described["BestCandidate"])}


def answered(s3: object, sagemaker: object, folder: Path, table: dict, best: dict) -> dict:
    """Let a candidate answer the test rows."""
    containers = best["InferenceContainers"]
    for container in containers:
        if "SAGEMAKER_INFERENCE_SUPPORTED" in container["Environment"]:
            container["Environment"]["SAGEMAKER_INFERENCE_OUTPUT"] = "probabilities"
    if len(containers) == 3:
        containers[2]["Environment"]["SAGEMAKER_INFERENCE_INPUT"] = "probabilities"
    is_class = table["problem_type"] != "Regression"
    if is_class:
        containers[-1]["Environment"]["SAGEMAKER_INFERENCE_OUTPUT"] = "probabilities,labels"
    with (folder / "test.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    asked = io.StringIO()
    names = [name for name in rows[0] if name != table["target"]]
    csv.writer(asked, lineterminator="\n").writerows([row[name] for name in names] for row in rows)
    s3.put_object(Bucket="bench", Key="rows/test.csv", Body=asked.getvalue().encode())
    sagemaker.create_model(ModelName="bench", Containers=containers, ExecutionRoleArn=os.environ["GYROPILOT_ROLE_ARN"])
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://bench/rows/"}}
    sagemaker.create_transform_job(
        TransformJobName="bench",
        ModelName="bench",
        TransformInput={"DataSource": source, "ContentType": "text/csv", "SplitType": "Line"},
        TransformOutput={"S3OutputPath": "s3://bench/answers", "Accept": "text/csv", "AssembleWith": "Line"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    while (told := sagemaker.describe_transform_job(TransformJobName="bench"))["TransformJobStatus"] == "InProgress":
        time.sleep(0.5)
    if told["TransformJobStatus"] != "Completed":
        raise SystemExit(f"the transform ended {told['TransformJobStatus']}: {told.get('FailureReason')}")
    body = s3.get_object(Bucket="bench", Key="answers/test.csv.out")["Body"].read().decode()
    lines = list(csv.reader(io.StringIO(body)))
    if not is_class:
        return {"numbers": [float(one[0]) for one in lines]}
    return {
        "classes": json.loads(lines[0][1].replace("'", '"')),
        "probabilities": [json.loads(one[0]) for one in lines],
    }


def autogluon(folder: Path, table: dict, seconds: int) -> dict:
    """Fit with best_quality."""
    import pandas as pd
    from autogluon.tabular import TabularPredictor

    training, test = pd.read_csv(folder / "training.csv"), pd.read_csv(folder / "test.csv")
    metric = {"AUC": "roc_auc", "Accuracy": "accuracy", "R2": "r2"}[table["objective"]]
    kind = {"BinaryClassification": "binary", "MulticlassClassification": "multiclass", "Regression": "regression"}
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as models:
        started = time.monotonic()
        predictor = TabularPredictor(
            label=table["target"],
            eval_metric=metric,
            problem_type=kind[table["problem_type"]],
            path=str(Path(models) / "autogluon"),
            verbosity=0,
        ).fit(training, presets="best_quality", time_limit=seconds, num_cpus=cores, dynamic_stacking=False)
        took = time.monotonic() - started
        rows = test.drop(columns=table["target"])
        if table["objective"] == "R2":
            return {"seconds": took, "numbers": predictor.predict(rows).tolist()}
        told = predictor.predict_proba(rows)
        return classified(took, list(told.columns), told.to_numpy())


def flaml(folder: Path, table: dict, seconds: int) -> dict:
    """Fit with everything that FLAML chooses from."""
    import pandas as pd
    from flaml import AutoML

    training, test = pd.read_csv(folder / "training.csv"), pd.read_csv(folder / "test.csv")
    metric = {"AUC": "roc_auc", "Accuracy": "accuracy", "R2": "r2"}[table["objective"]]
    learner = AutoML()
    started = time.monotonic()
    learner.fit(
        training.drop(columns=table["target"]),
        training[table["target"]],
        task="regression" if table["objective"] == "R2" else "classification",
        metric=metric,
        time_budget=seconds,
        n_jobs=len(os.sched_getaffinity(0)),
        seed=0,
        verbose=0,
    )
    took = time.monotonic() - started
    rows = test.drop(columns=table["target"])
    if table["objective"] == "R2":
        return {"seconds": took, "numbers": learner.predict(rows).tolist()}
    return classified(took, list(learner.classes_), learner.predict_proba(rows))


def lightgbm(folder: Path, table: dict, seconds: int) -> dict:
    """Tune on a fifth held out, then fit the best parameters on all rows."""
    import lightgbm as gbm
    import numpy as np
    import optuna
    import pandas as pd
    from sklearn.model_selection import train_test_split

    started = time.monotonic()
    training, test = pd.read_csv(folder / "training.csv"), pd.read_csv(folder / "test.csv")
    rows, answers = features(training, test, table["target"])
    is_regression = table["objective"] == "R2"
    classes, truth = [], training[table["target"]].to_numpy(dtype=float) if is_regression else None
    if truth is None:
        classes, truth = np.unique(training[table["target"]].astype(str), return_inverse=True)
    split = train_test_split(rows, truth, test_size=0.2, random_state=0, stratify=None if is_regression else truth)
    fixed = {"n_jobs": len(os.sched_getaffinity(0)), "verbosity": -1, "seed": 0}
    if is_regression:
        fixed |= {"objective": "regression", "metric": "l2"}
    elif len(classes) == 2:
        fixed |= {"objective": "binary", "metric": "auc"}
    else:
        fixed |= {"objective": "multiclass", "metric": "multi_error", "num_class": len(classes)}
    sign = -1 if fixed["metric"] in {"l2", "multi_error"} else 1
    deadline = started + seconds * TUNING_SHARE
    # A Dataset is built anew for each trial: min_child_samples goes into it.
    best = {"score": -np.inf}

    def tried(trial: optuna.Trial) -> float:
        given = fixed | drawn(trial)
        parts = gbm.Dataset(split[0], split[2]), gbm.Dataset(split[1], split[3])
        model = gbm.train(
            given, parts[0], 5000, valid_sets=[parts[1]],
            callbacks=[gbm.early_stopping(50, verbose=False), until(deadline, gbm)],
        )  # fmt: skip
        reached = sign * next(iter(next(iter(model.best_score.values())).values()))
        if reached > best["score"]:
            best.update(score=reached, parameters=given, rounds=model.best_iteration or model.current_iteration())
        return reached

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20})
    study.optimize(tried, timeout=max(deadline - time.monotonic(), 1))
    model = gbm.train(best["parameters"], gbm.Dataset(rows, truth), best["rounds"])
    took = time.monotonic() - started
    told = model.predict(answers)
    if is_regression:
        return {"seconds": took, "numbers": told.tolist()}
    return classified(took, list(classes), np.column_stack([1 - told, told]) if told.ndim == 1 else told)


def features(training: object, test: object, target: str) -> tuple:
    """Give both frames without the target, texts as categories of the training rows."""
    import pandas as pd

    rows, answers = training.drop(columns=target), test.drop(columns=target)
    for name in rows.columns[[not pd.api.types.is_numeric_dtype(one) for one in rows.dtypes]]:
        rows[name] = rows[name].astype("category")
        answers[name] = pd.Categorical(answers[name], categories=rows[name].cat.categories)
    return rows, answers


def drawn(trial: object) -> dict:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 4, 256, log=True),
        "min_child_samples": trial.suggest_int("min_child_samples", 2, 100, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
        "bagging_freq": 1,
        "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10.0, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10.0, log=True),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 100.0, log=True),
    }


def until(deadline: float, gbm: object) -> object:
    """Give a callback that ends a trial when the time for tuning is over."""

    def check(state: object) -> None:
        if time.monotonic() > deadline and state.iteration > 0:
            raise gbm.callback.EarlyStopException(state.iteration, state.evaluation_result_list)

    return check


def classified(took: float, classes: list, probabilities: object) -> dict:
    return {"seconds": took, "classes": [str(one) for one in classes], "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    sys.exit(main())
