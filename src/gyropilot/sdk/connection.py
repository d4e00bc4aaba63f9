"""Signed calls to one service, by botocore: Autopilot's operations, and those that only this service has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.loaders
import botocore.session

from gyropilot.sdk.errors import NotConfigured, Refused, ServiceError, Unreachable

Json = Any
Dialect = Literal["sagemaker", "gyropilot"]

_CONFIG = {"connect_timeout": 5, "read_timeout": 60, "retries": {"mode": "standard", "total_max_attempts": 3}}


class Connection:
    """One service, one key pair; safe to use from several threads."""

    def __init__(self, *, url: str, access_key: str, secret: str, region: str) -> None:
        session = _session()
        session.set_credentials(access_key, secret)
        # A profile, a proxy or retries that the machine configures for AWS have no business between here and `url`.
        config = botocore.config.Config(**_CONFIG, proxies={}, parameter_validation=True)
        self.url = url
        self._clients = {
            dialect: session.create_client(dialect, region_name=region, endpoint_url=url, config=config)
            for dialect in ("sagemaker", "gyropilot")
        }

    @classmethod
    def from_environment(cls) -> Connection:
        """Give a connection to the service that AWS_ENDPOINT_URL and its neighbours name.

        Raises:
            NotConfigured: they name none; nothing is ever sent to AWS itself.
        """
        session = _session()
        credentials = session.get_credentials()
        region = session.get_config_variable("region")
        url = _endpoint_url(session, region)
        if url is None or credentials is None or region is None:
            missing = (
                "AWS_ENDPOINT_URL" if url is None else "AWS_DEFAULT_REGION" if region is None else "AWS_ACCESS_KEY_ID"
            )
            raise NotConfigured(f'{missing} is not set; run: eval "$(gyropilot env)"')
        keys = credentials.get_frozen_credentials()
        return cls(url=url, access_key=keys.access_key, secret=keys.secret_key, region=region)

    def call(self, dialect: Dialect, operation: str, request: Mapping[str, Json]) -> dict[str, Json]:
        """Give the answer to one call; `operation` as botocore spells it, as `create_auto_ml_job_v2`.

        Raises:
            Refused: the service, or botocore's own check of the request, said no.
            Unreachable: no answer came.
        """
        try:
            answer: dict[str, Json] = getattr(self._clients[dialect], operation)(**request)
        except botocore.exceptions.ClientError as error:
            raise _refused(error) from error
        except botocore.exceptions.ParamValidationError as error:
            raise Refused(code="ParamValidation", message=str(error), status=0) from error
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
            raise Unreachable(f"{self.url} does not answer") from error
        except botocore.exceptions.BotoCoreError as error:
            raise ServiceError(str(error)) from error
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


class _Loader(botocore.loaders.Loader):  # type: ignore[misc]  # botocore has no types
    """botocore's models, and ours beside them."""

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Json:
        if service_name != "gyropilot":
            return super().load_service_model(service_name, type_name, api_version)
        if type_name != "service-2":
            raise botocore.exceptions.UnknownServiceError(service_name=service_name, known_service_names="")
        return json.loads(files("gyropilot.wire").joinpath("gyropilot-service-2.json").read_text(encoding="utf-8"))


def _session() -> Json:
    session = botocore.session.Session()
    session.register_component("data_loader", _Loader(include_default_search_paths=True))
    return session


def _endpoint_url(session: Json, region: str | None) -> str | None:
    """Give the configured endpoint; None where botocore would go to AWS."""
    client = session.create_client(
        "sagemaker", region_name=region or "us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )
    url: str = client.meta.endpoint_url
    return None if url.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else url


def _refused(error: Json) -> Refused:
    body = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return Refused(code=body.get("Code", "Unknown"), message=body.get("Message", ""), status=status)
