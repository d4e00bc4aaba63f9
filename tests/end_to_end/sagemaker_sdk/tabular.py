"""Tabular jobs by the SageMaker Python SDK, as a user writes them; run in an environment of its own.

python tabular.py <job name> <role> <training CSV> <test CSV> <target>; prints what it saw as JSON, last:
of AutoMLV2 with hyperparameter tuning, and of the older AutoML with ensembling.
"""

import csv
import io
import json
import sys
import time
from pathlib import Path

from sagemaker import Session
from sagemaker.automl.automl import AutoML
from sagemaker.automl.automlv2 import AutoMLTabularConfig, AutoMLV2, LocalAutoMLDataChannel
from sagemaker.automl.candidate_estimator import CandidateEstimator
from sagemaker.deserializers import CSVDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer

name, role, training, test, target = sys.argv[1:]

# The SDK sleeps 30 s between two looks at a job or an endpoint; it is not the sleeping that is tried here.
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.2))

session = Session()
KEYS = ["predicted_label", "probability", "probabilities", "labels"]
OBJECTIVE = {"MetricName": "AUC"}

with Path(test).open(newline="") as file:
    asked = list(csv.DictReader(file))[:3]
for row in asked:
    del row[target]
rows = io.StringIO()
csv.writer(rows, lineterminator="\n").writerows(row.values() for row in asked)
rows = rows.getvalue()


def by_v2():
    automl = AutoMLV2(
        problem_config=AutoMLTabularConfig(
            target_attribute_name=target,
            mode="HYPERPARAMETER_TUNING",
            algorithms_config=["xgboost", "linear-learner"],
            problem_type="BinaryClassification",
            max_candidates=2,
        ),
        job_objective=OBJECTIVE,
        role=role,
        sagemaker_session=session,
    )
    channel = LocalAutoMLDataChannel("S3Prefix", training, content_type="text/csv;header=present")
    automl.fit(channel, job_name=f"{name}-2", logs=True)
    attached = AutoMLV2.attach(f"{name}-2", sagemaker_session=session)
    return seen(automl, f"{name}-2") | {"attached": attached.best_candidate()["CandidateName"]}


def by_v1():
    automl = AutoML(
        role=role,
        target_attribute_name=target,
        mode="ENSEMBLING",
        problem_type="BinaryClassification",
        job_objective=OBJECTIVE,
        max_candidates=1,
        max_runtime_per_training_job_in_seconds=20,
        sagemaker_session=session,
    )
    automl.fit(training, job_name=f"{name}-1", logs=True)
    attached = AutoML.attach(f"{name}-1", sagemaker_session=session)
    return seen(automl, f"{name}-1") | {"attached": attached.best_candidate()["CandidateName"]}


def seen(automl, job):
    """Give what a fitted job is, what its best candidate answers when deployed, and in a batch; leave nothing there."""
    described, best = automl.describe_auto_ml_job(), automl.best_candidate()
    listed = automl.list_candidates(sort_by="FinalObjectiveMetricValue", sort_order="Descending")
    steps = CandidateEstimator(best, sagemaker_session=session).get_steps()
    predictor = automl.deploy(
        1,
        "ml.m5.2xlarge",
        name=f"{job}-served",
        endpoint_name=job,
        predictor_cls=Predictor,
        serializer=CSVSerializer(),
        deserializer=CSVDeserializer(),
        inference_response_keys=KEYS,
    )
    answers = predictor.predict(rows)
    found = {
        "status": described["AutoMLJobStatus"],
        "containers": len(best["InferenceContainers"]),
        "best": best["CandidateName"],
        "candidates": [one["CandidateName"] for one in listed],
        "steps": [one["CandidateStepType"].rpartition("::")[2] for one in best["CandidateSteps"]],
        "described": [step.type for step in steps],
        "answers": answers,
        "transformed": transformed(automl, job),
    }
    predictor.delete_model()
    predictor.delete_endpoint()
    return found


def transformed(automl, job):
    bucket = session.default_bucket()
    session.upload_string_as_file_body(rows, bucket, f"{job}/rows/asked.csv", kms_key=None)
    model = automl.create_model(name=f"{job}-batch")
    transformer = model.transformer(
        1, "ml.m5.2xlarge", assemble_with="Line", output_path=f"s3://{bucket}/{job}/answers", accept="text/csv"
    )
    transformer.transform(
        f"s3://{bucket}/{job}/rows/", content_type="text/csv", split_type="Line", job_name=f"{job}-batch", wait=True
    )
    answers = session.read_s3_file(bucket, f"{job}/answers/asked.csv.out").splitlines()
    model.delete_model()
    return answers


print(json.dumps({"v2": by_v2(), "v1": by_v1()}))
