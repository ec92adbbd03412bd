"""Gate `cloudwatch`: the newest value of a metric query between `min` and `max`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.gates.aws_signature import Credentials, signed
from pipeline_step.gates.query import Query, check_url, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import Duration, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.http import Http
    from pipeline_step.model import Measurement

TARGET = "GraniteServiceVersion20100801.GetMetricData"
CONTENT = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded"


class Settings(Query, frozen=True, kw_only=True):
    """The region, the query, and the account's credentials.

    The query is an expression (Metrics Insights or metric math), or the JSON list of a GetMetricData request's
    MetricDataQueries. Credentials come from `credentials_file` (as the AWS CLI writes it, with `profile`), or from
    `role_arn` with `web_identity_token_file`, as EKS gives them to a service account.
    """

    region: Annotated[str, says("the account's region, such as eu-west-1")]
    credentials_file: Annotated[str, says("a file of credentials as the AWS CLI writes it")] = ""
    profile: Annotated[str, says("the profile in that file")] = "default"
    role_arn: Annotated[str, says("the role to take, with `web_identity_token_file`")] = ""
    web_identity_token_file: Annotated[str, says("the service account's token, as EKS mounts it")] = ""
    url: Annotated[str, says("the endpoint, where it is not the region's")] = ""
    sts_url: Annotated[str, says("the endpoint that gives the role, likewise")] = ""
    window: Annotated[Duration, says("the time that the query looks back at")] = "5m"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", self.region):
            raise ValueError(f"region {self.region!r} is no region such as eu-central-1")
        if bool(self.credentials_file) == bool(self.role_arn and self.web_identity_token_file):
            raise ValueError("give either credentials_file, or role_arn and web_identity_token_file")
        for key, url in (("url", self.url), ("sts_url", self.sts_url)):
            if url:
                check_url(url, key)
        # The provider's own way to write a list; it is complete only once its placeholders are filled.
        if self.query.lstrip().startswith("["):
            queries(self.query)


class _Result(msgspec.Struct, frozen=True, rename="pascal"):
    status_code: str = "Complete"
    values: list[float] = []


class _Message(msgspec.Struct, frozen=True, rename="pascal"):
    code: str = ""
    value: str = ""


class _Answer(msgspec.Struct, frozen=True, rename="pascal"):
    metric_data_results: list[_Result]
    messages: list[_Message] = []


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the window's points; each result counts with its newest."""
    secrets: list[str] = []
    start, end = settings.range(subject)
    url = settings.url or f"https://monitoring.{settings.region}.amazonaws.com/"

    def ask(query: str) -> list[float]:
        account = credentials(settings, sources.http)
        secrets.extend(filter(None, (account.secret_key, account.session_token)))
        asked = {
            "StartTime": start,
            "EndTime": end,
            "ScanBy": "TimestampDescending",
            "MetricDataQueries": queries(query),
        }
        body = msgspec.json.encode(asked)
        headers = {"Content-Type": CONTENT, "X-Amz-Target": TARGET, "Accept": "application/json"}
        headers = signed("POST", url, headers, body, account, settings.region, "monitoring", subject.now)
        response = sources.http.request("POST", url, body=body, headers=headers, idempotent=True)
        answer = response.decode(_Answer)
        refused = [result.status_code for result in answer.metric_data_results if result.status_code == "Forbidden"]
        if refused or answer.messages:
            why = "; ".join(message.value for message in answer.messages) or "the account may not read a metric"
            raise HttpError(f"{response.url} answered: {why}", response.status)
        return [result.values[0] for result in answer.metric_data_results if result.values]

    return measure_query(name, settings, subject, ask, secrets)


def queries(text: str) -> list[dict[str, Any]]:
    """The MetricDataQueries of a query; raises ValueError where a JSON list is none."""
    if not text.lstrip().startswith("["):
        return [{"Id": "value", "Expression": text, "Period": 60}]
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise ValueError(f"query is no JSON list of MetricDataQueries ({error})") from None


def credentials(settings: Settings, http: Http) -> Credentials:
    """From the file, or of the role that the service account's token may take."""
    if settings.credentials_file:
        return _from_file(settings.credentials_file, settings.profile)
    # https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": settings.role_arn,
        "RoleSessionName": "pipeline-step",
        "WebIdentityToken": secret(settings.web_identity_token_file, "web_identity_token_file"),
    }
    response = http.request(
        "POST",
        settings.sts_url or f"https://sts.{settings.region}.amazonaws.com/",
        body=urlencode(form).encode(),
        headers={"Content-Type": FORM},
        idempotent=True,
    )
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    found = [re.search(rf"<{name}>\s*([^<\s]+)\s*</{name}>", response.text) for name in names]
    if not all(found):
        raise HttpError(f"{response.url} answered {response.status} without credentials", response.status)
    return Credentials(*(match[1] for match in found if match))


def _from_file(path: str, profile: str) -> Credentials:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"))
        section = parser[profile]
        return Credentials(
            section["aws_access_key_id"], section["aws_secret_access_key"], section.get("aws_session_token", "")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"credentials_file: {path} can't be read ({error})") from None
    except configparser.Error as error:
        raise ConfigError(
            f"credentials_file: {path} is not in the form of the AWS CLI ({type(error).__name__})"
        ) from None
    except KeyError as error:
        raise ConfigError(f"credentials_file: {path} has no {error} of the profile {profile!r}") from None
