"""A program of sagemaker-core's resource classes, as a user writes it; run in an environment of its own.

python jobs.py <job name> <role ARN> <base model>; prints what it saw as JSON.
"""

import json
import sys

from botocore.exceptions import ClientError
from sagemaker.core.resources import AutoMLJob, AutoMLJobV2, Tag
from sagemaker.core.shapes import (
    AutoMLDataSource,
    AutoMLJobChannel,
    AutoMLOutputDataConfig,
    AutoMLProblemTypeConfig,
    AutoMLS3DataSource,
    TextGenerationJobConfig,
)
from sagemaker.core.shapes import Tag as TagShape

name, role, base_model = sys.argv[1:]
seen = {}

place = AutoMLS3DataSource(s3_data_type="S3Prefix", s3_uri="s3://data/train/")
wanted = {
    "auto_ml_job_input_data_config": [AutoMLJobChannel(data_source=AutoMLDataSource(s3_data_source=place))],
    "output_data_config": AutoMLOutputDataConfig(s3_output_path="s3://data/out"),
    "auto_ml_problem_type_config": AutoMLProblemTypeConfig(
        text_generation_job_config=TextGenerationJobConfig(base_model_name=base_model)
    ),
    "role_arn": role,
}
job = AutoMLJobV2.create(auto_ml_job_name=name, tags=[TagShape(key="team", value="a")], **wanted)
seen["arn"] = job.auto_ml_job_arn
seen["status"] = job.auto_ml_job_status
seen["problem"] = job.auto_ml_problem_type_config.text_generation_job_config.base_model_name

found = AutoMLJobV2.get(auto_ml_job_name=name)
seen["created"] = str(found.creation_time)
seen["found"] = found.auto_ml_job_arn

Tag.add_tags(resource_arn=job.auto_ml_job_arn, tags=[TagShape(key="by", value="core"), TagShape(key="x", value="y")])
Tag.delete_tags(resource_arn=job.auto_ml_job_arn, tag_keys=["x"])
seen["tags"] = {one.key: one.value for one in Tag.get_all(resource_arn=job.auto_ml_job_arn)}

# AutoMLJob.get_all describes each job by DescribeAutoMLJob, which knows no job of CreateAutoMLJobV2.
listed = AutoMLJobV2.get_sagemaker_client().list_auto_ml_jobs(NameContains=name, SortBy="CreationTime")
seen["names"] = [one["AutoMLJobName"] for one in listed["AutoMLJobSummaries"]]

AutoMLJob(auto_ml_job_name=name).stop()
job.wait(poll=1, timeout=120)
job.refresh()
seen["ended"] = job.auto_ml_job_status

seen["errors"] = []
for call in (
    lambda: AutoMLJobV2.get(auto_ml_job_name="nobody"),
    lambda: AutoMLJobV2.create(auto_ml_job_name=name.upper(), **wanted),
):
    try:
        call()
    except ClientError as error:
        seen["errors"].append(error.response["Error"]["Code"])
print(json.dumps(seen))
