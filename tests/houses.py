"""Puts a house together for tests: a real database, real folders, the problem types a test asks for."""

from __future__ import annotations

from gyropilot import names
from gyropilot.base_models.store import BaseModelStore
from gyropilot.control.house import House
from gyropilot.settings import Settings
from gyropilot.store import objects, roles
from gyropilot.store.database import Database
from gyropilot.store.principals import Credentials
from gyropilot.store.role_objects import RoleStores
from gyropilot.store.seals import Seal

REGION = "us-east-1"
ROLE = names.role_arn(names.ACCOUNT_ID, names.DEFAULT_ROLE_NAME)


def build(home, problems, **chosen):
    settings = Settings(home=home, **chosen)
    for folder in (settings.scratch, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)
    db = Database.open(settings.database)
    roles.ensure_default(db, ROLE)
    store = objects.open_objects(settings)
    if not store.bucket_exists("data"):
        store.create_bucket("data")
        store.put_bytes("data", "numbers/a.csv", b"1\n2\n3\n", "text/csv")
    seal = Seal.open(settings.seal)
    return House(
        settings=settings,
        db=db,
        objects=store,
        base_models=BaseModelStore(settings.base_models, settings.allow_downloads),
        credentials=Credentials.open(settings.credentials, settings.account_id, db=db, seal=seal),
        seal=seal,
        role_stores=RoleStores(store, seal),
        problems=problems,
    )


def admin(house):
    key, _ = house.credentials.first_admin()
    return house.credentials.find(key)[0]


def mean_request(name="job", *, tags=None, criteria=None, **changed):
    request = {
        "AutoMLJobName": name,
        "AutoMLJobInputDataConfig": [
            {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://data/numbers/"}}}
        ],
        "OutputDataConfig": {"S3OutputPath": "s3://data/out/"},
        "AutoMLProblemTypeConfig": {
            "TabularJobConfig": {"TargetAttributeName": "y", **({"CompletionCriteria": criteria} if criteria else {})}
        },
        "RoleArn": ROLE,
    }
    if tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    return request | changed
