"""A program of sagemaker-core's AutoMLJob, the resource class of the first version of the API, as a user writes it.

python v1_jobs.py <job name> <role ARN> <bucket and key of a CSV file> <target>; prints what it saw as JSON.
"""

import json
import sys

from sagemaker.core.resources import AutoMLJob
from sagemaker.core.shapes import (
    AutoMLChannel,
    AutoMLDataSource,
    AutoMLJobCompletionCriteria,
    AutoMLJobConfig,
    AutoMLJobObjective,
    AutoMLOutputDataConfig,
    AutoMLS3DataSource,
)

name, role, place, target = sys.argv[1:]
seen = {}

source = AutoMLDataSource(s3_data_source=AutoMLS3DataSource(s3_data_type="S3Prefix", s3_uri=f"s3://{place}"))
job = AutoMLJob.create(
    auto_ml_job_name=name,
    input_data_config=[AutoMLChannel(data_source=source, target_attribute_name=target)],
    output_data_config=AutoMLOutputDataConfig(s3_output_path="s3://data/out"),
    role_arn=role,
    problem_type="BinaryClassification",
    auto_ml_job_objective=AutoMLJobObjective(metric_name="AUC"),
    auto_ml_job_config=AutoMLJobConfig(
        mode="ENSEMBLING",
        completion_criteria=AutoMLJobCompletionCriteria(max_candidates=1),
    ),
)
seen["arn"] = job.auto_ml_job_arn
seen["target"] = job.input_data_config[0].target_attribute_name
seen["channel"] = [job.input_data_config[0].content_type, job.input_data_config[0].channel_type]
seen["problem_type"] = [job.problem_type, job.resolved_attributes.problem_type]
seen["most"] = job.resolved_attributes.completion_criteria.max_candidates
seen["encrypted"] = job.auto_ml_job_config.security_config.enable_inter_container_traffic_encryption

listed = list(AutoMLJob.get_all(name_contains=name, sort_by="CreationTime"))
seen["listed"] = [[one.auto_ml_job_name, one.input_data_config[0].target_attribute_name] for one in listed]

job.stop()
job.wait(poll=1, timeout=120)
seen["ended"] = AutoMLJob.get(auto_ml_job_name=name).auto_ml_job_status
print(json.dumps(seen))
