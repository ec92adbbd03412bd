"""What Lighthouse and Tekton put into a step's environment, as the configuration reads it."""

from __future__ import annotations

import pytest

from pipeline_step.config import Flags, provider_of, pull_of
from pipeline_step.errors import ConfigError

LIGHTHOUSE = {
    "BUILD_ID": "17",
    "JOB_NAME": "pipeline-step-shift",
    "JOB_SPEC": "type:presubmit",
    "JOB_TYPE": "presubmit",
    "PULL_BASE_REF": "main",
    "PULL_BASE_SHA": "b" * 40,
    "PULL_NUMBER": "35",
    "PULL_PULL_REF": "refs/pull/35/head",
    "PULL_PULL_SHA": "a" * 40,
    "REPO_NAME": "shop",
    "REPO_OWNER": "acme",
    "REPO_URL": "https://git.example.com/acme/shop.git",
}


def remote(repository: str = "", **over: str) -> str:
    """The remote that the environment of Lighthouse gives, with other variables over it."""
    environ = LIGHTHOUSE | over
    return provider_of(pull_of(Flags(repository=repository), environ), environ).remote


def test_the_pull_request_is_read() -> None:
    pull = pull_of(Flags(), LIGHTHOUSE)
    assert (pull.number, pull.owner, pull.repo, pull.sha) == (35, "acme", "shop", "a" * 40)


def test_a_postsubmit_has_no_pull_request() -> None:
    assert pull_of(Flags(), LIGHTHOUSE | {"PULL_NUMBER": "", "PULL_PULL_SHA": ""}).number == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/acme/shop.git",
        "https://git.example.com/acme/shop",
        "https://git.example.com/git/acme/shop/",
        "git@git.example.com:acme/shop.git",
    ],
)
def test_the_token_goes_to_the_server_of_the_repository(url: str) -> None:
    assert remote(REPO_URL=url) == url


def test_another_repository_is_looked_for_on_the_same_server() -> None:
    assert remote("acme/other") == "https://git.example.com/acme/other"
    assert remote("acme/other", REPO_URL="https://x:y@git.example.com/acme/shop") == (
        "https://git.example.com/acme/other"
    )


def test_another_repository_beside_an_ssh_remote_is_not_guessed() -> None:
    with pytest.raises(ConfigError, match="GIT_SERVER"):
        remote("acme/other", REPO_URL="git@git.example.com:acme/shop.git")


def test_a_server_that_is_named_counts() -> None:
    assert remote(GIT_SERVER="https://lan.example.com") == "https://lan.example.com/acme/shop"


def test_github_is_meant_where_nothing_says_otherwise() -> None:
    assert remote(REPO_URL="") == "https://github.com/acme/shop"
