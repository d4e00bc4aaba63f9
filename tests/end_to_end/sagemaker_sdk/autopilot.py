"""A program of the SageMaker Python SDK, as a user writes it; run in an environment of its own.

python autopilot.py <job name> <role name or ARN> <base model> <file of rows>; prints what it saw as JSON, last.
"""

import json
import sys
import time

from sagemaker import Session
from sagemaker.automl.automlv2 import AutoMLTextGenerationConfig, AutoMLV2, LocalAutoMLDataChannel
from sagemaker.deserializers import JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import JSONSerializer

name, role, base_model, rows = sys.argv[1:]
seen = {}

# The SDK sleeps 30 s between two looks at a job or an endpoint; it is not the sleeping that is tried here.
sleep = time.sleep
time.sleep = lambda seconds: sleep(min(seconds, 0.2))

session = Session()
seen["bucket"] = session.default_bucket()
automl = AutoMLV2(
    problem_config=AutoMLTextGenerationConfig(
        base_model_name=base_model,
        text_generation_hyper_params={"epochCount": "1", "batchSize": "8", "learningRate": "0.001"},
    ),
    role=role,
    tags=[{"Key": "team", "Value": "sdk"}],
    sagemaker_session=session,
)
automl.fit(LocalAutoMLDataChannel("S3Prefix", rows, content_type="text/csv;header=present"), job_name=name, logs=True)

described = automl.describe_auto_ml_job()
best = automl.best_candidate()
candidates = automl.list_candidates()
seen["job"] = [described["AutoMLJobStatus"], described["AutoMLProblemTypeConfigName"]]
seen["best"] = best["CandidateName"]
seen["candidates"] = [one["CandidateName"] for one in candidates]
seen["attached"] = AutoMLV2.attach(name, sagemaker_session=session).best_candidate()["CandidateName"]

model = automl.create_model(name=f"{name}-batch")
predictor = automl.deploy(
    initial_instance_count=1,
    instance_type="ml.g5.12xlarge",
    endpoint_name=f"{name}-endpoint",
    predictor_cls=Predictor,
    serializer=JSONSerializer(),
    deserializer=JSONDeserializer(),
    model_data_download_timeout=3600,
    container_startup_health_check_timeout=3600,
)
question = {"inputs": "What colour has stone 2?", "parameters": {"max_new_tokens": 8}}
seen["answer"] = predictor.predict(question)
seen["same"] = predictor.predict(question) == seen["answer"]

output = f"s3://{seen['bucket']}/{name}/answers"
place = session.upload_string_as_file_body(
    json.dumps(question) + "\n" + json.dumps(question) + "\n", seen["bucket"], f"{name}/questions/a.jsonl", kms_key=None
)
transformer = model.transformer(
    1,
    "ml.g5.12xlarge",
    strategy="SingleRecord",
    assemble_with="Line",
    output_path=output,
    accept="application/jsonlines",
)
transformer.transform(
    f"s3://{seen['bucket']}/{name}/questions/",
    content_type="application/jsonlines",
    split_type="Line",
    job_name=f"{name}-batch",
    wait=True,
    logs=True,
)
seen["transformed"] = session.read_s3_file(seen["bucket"], f"{name}/answers/a.jsonl.out").splitlines()

model.delete_model()
predictor.delete_model()
predictor.delete_endpoint()
client = session.sagemaker_client
client.get_waiter("endpoint_deleted").wait(EndpointName=predictor.endpoint_name, WaiterConfig={"Delay": 1})
listed = client.list_models(), client.list_endpoint_configs(), client.list_endpoints()
seen["left"] = [
    one[key]
    for page in listed
    for listing in page.values()
    if isinstance(listing, list)
    for one in listing
    for key in one
    if key.endswith("Name") and one[key].startswith(name)
]
print(json.dumps(seen))
