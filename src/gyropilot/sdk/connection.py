"""Signed calls to one service, by botocore: Autopilot's operations, those that only this service has, and S3's."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

import botocore.config
import botocore.configprovider
import botocore.credentials
import botocore.exceptions
import botocore.loaders
import botocore.session

from gyropilot.sdk import bearer
from gyropilot.sdk.errors import NotConfigured, Refused, ServiceError, Unreachable

Json = Any
Dialect = Literal["sagemaker", "sagemaker-runtime", "logs", "gyropilot", "s3", "sts"]

_RUNTIME_SECONDS = 600
"""An answer of a model may take as long as the service lets it, which is the service's to bound."""
_CONFIG = {"connect_timeout": 5, "read_timeout": 60, "retries": {"mode": "standard", "total_max_attempts": 3}}


class Connection:
    """One service, one key pair; safe to use from several threads.

    `key_from` says where the key was found; a refusal that another key might not have met tells the key and that.
    Where `s3_url` names another store than the service's own, the machine's AWS credentials open that.
    """

    def __init__(
        self, *, url: str, access_key: str, secret: str, region: str, s3_url: str = "", key_from: str = ""
    ) -> None:
        self.access_key, self._secret = access_key, secret
        self._caller = f"signed with {access_key}, {key_from}" if key_from else ""
        self._session = _session()
        # AWS_PROFILE is about other keys; botocore would stop at a profile that is not there.
        no_profile = botocore.configprovider.ConstantProvider(value=None)
        self._session.get_component("config_store").set_config_provider("profile", no_profile)
        self._session.set_credentials(access_key, secret)
        self.url = url
        self._region, self._s3_url = region, s3_url or url
        self._clients: dict[Dialect, Json] = {}
        self._making = threading.Lock()

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
        s3_url = _endpoint_url(session, region, service="s3") or ""
        return cls(url=url, access_key=keys.access_key, secret=keys.secret_key, region=region, s3_url=s3_url)

    def call(self, dialect: Dialect, operation: str, request: Mapping[str, Json]) -> dict[str, Json]:
        """Give the answer to one call; `operation` as botocore spells it, as `create_auto_ml_job_v2`.

        Raises:
            Refused: the service, or botocore's own check of the request, said no.
            Unreachable: no answer came.
        """
        try:
            answer: dict[str, Json] = getattr(self._client(dialect), operation)(**request)
        except botocore.exceptions.ClientError as error:
            raise _refused(error, self._caller if self._url_of(dialect) == self.url else "") from error
        except botocore.exceptions.ParamValidationError as error:
            raise Refused(code="ParamValidation", message=str(error), status=0) from error
        except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
            raise Unreachable(
                f"{self._url_of(dialect)} does not answer; is it running? gyropilot doctor tells"
            ) from error
        except botocore.exceptions.NoCredentialsError as error:
            raise ServiceError(
                f"there are no AWS credentials for {self._url_of(dialect)}; set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY, or a profile"
            ) from error
        except botocore.exceptions.BotoCoreError as error:
            raise ServiceError(str(error)) from error
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def bearer_token(self) -> str:
        """Give the token of the key, for the service's OpenAI-compatible API."""
        return bearer.token(self.access_key, self._secret)

    def _client(self, dialect: Dialect) -> Json:
        """Give the client of a dialect, made when it is first needed: each costs the reading of its service model."""
        with self._making:
            if dialect not in self._clients:
                # A profile, a proxy or retries that the machine configures for AWS have no business between here and
                # the service.
                config = botocore.config.Config(
                    **_CONFIG, proxies={}, parameter_validation=True, s3={"addressing_style": "path"}
                )
                if dialect == "sagemaker-runtime":
                    config = config.merge(botocore.config.Config(read_timeout=_RUNTIME_SECONDS))
                session = self._session if self._url_of(dialect) == self.url else _session()
                self._clients[dialect] = session.create_client(
                    dialect, region_name=self._region, endpoint_url=self._url_of(dialect), config=config
                )
            return self._clients[dialect]

    def _url_of(self, dialect: Dialect) -> str:
        return self._s3_url if dialect == "s3" else self.url


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


def _endpoint_url(session: Json, region: str | None, *, service: str = "sagemaker") -> str | None:
    """Give the configured endpoint; None where botocore would go to AWS."""
    client = session.create_client(
        service, region_name=region or "us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )
    url: str = client.meta.endpoint_url
    return None if url.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")) else url


def _refused(error: Json, caller: str) -> Refused:
    body = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = body.get("Code", "Unknown")
    # What belongs to another account is answered as if it were missing.
    is_of_key = status == 403 or code == "ResourceNotFound"
    return Refused(code=code, message=body.get("Message", ""), status=status, caller=caller if is_of_key else "")
