"""Model data as a job publishes it, without training: an object, and its record; and what can be made of it."""

from __future__ import annotations

import hashlib

import houses
from gyropilot import clock, names
from gyropilot.control import endpoint_configs, endpoints, models
from gyropilot.store import candidates, jobs, leases, model_data
from gyropilot.store import endpoints as endpoint_rows
from gyropilot.store.jobs import JobChanges
from gyropilot.store.model_data import ModelDataRecord
from gyropilot.worker import outcomes
from new_jobs import new_job


def publish(house, name="job", *, data=b"model", account=names.ACCOUNT_ID, bucket="data", **chosen):
    """Give the container that the one candidate of the ended job `name`, of the same name, has."""
    uri = f"s3://{bucket}/out/{name}/model.tar.gz"
    house.objects.put_bytes(bucket, f"out/{name}/model.tar.gz", data)
    request = houses.mean_request(name)
    made = jobs.create(
        house.db, new_job(name, account_id=account, arn=f"arn:job/{account}/{name}", request=request), {}
    )
    lease, _ = leases.claim(house.db, "test", 600, None)
    assert lease.job_id == made.id, "another job waits"
    values = {"account_id": account, "uri": uri, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    values |= {"image": "gyropilot/mean:1", "problem": "Tabular", "shares": "", "job_id": made.id, "candidate": name}
    model_data.put(house.db, lease, [ModelDataRecord(**(values | chosen))])
    candidates.put(house.db, lease, outcomes.in_progress(made, name, clock.now()))
    jobs.update(house.db, lease, JobChanges(status="Completed", best_candidate=name))
    leases.release(house.db, lease)
    return {"Image": (values | chosen)["image"], "ModelDataUrl": uri, "Environment": {"A": "b"}}


def model_request(name, *containers, **chosen):
    given = {"PrimaryContainer": containers[0]} if len(containers) == 1 else {"Containers": list(containers)}
    return {"ModelName": name, "ExecutionRoleArn": houses.ROLE} | given | chosen


def variant(model, name="v", **chosen):
    return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"} | chosen


def config_request(name, *variants, **chosen):
    return {"EndpointConfigName": name, "ProductionVariants": list(variants)} | chosen


def create_model(house, name, *containers, principal=None, **chosen):
    request = model_request(name, *containers, **chosen)
    return models.create(house, principal or houses.admin(house), request, region=houses.REGION)


def create_config(house, name, *variants, principal=None, **chosen):
    request = config_request(name, *variants, **chosen)
    return endpoint_configs.create(house, principal or houses.admin(house), request, region=houses.REGION)


def create_endpoint(house, name, config, *, principal=None, **chosen):
    request = {"EndpointName": name, "EndpointConfigName": config} | chosen
    return endpoints.create(house, principal or houses.admin(house), request, region=houses.REGION)


def bring_into_service(house, name, account=names.ACCOUNT_ID):
    """Say what the supervisor says once all replicas of an endpoint are ready."""
    there = endpoint_rows.find(house.db, account, houses.REGION, name)
    given = {"generation": there.generation, "status": "InService", "serving": there.wanted}
    assert endpoint_rows.set_status(house.db, there.id, **given)
