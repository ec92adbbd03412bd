"""The configuration as the base branch has it: what a pull request proposes never decides about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_step.config import Flags, named_file, provider_of, pull_of
from pipeline_step.config_file import DEFAULT_FILE
from pipeline_step.errors import ConfigError, HttpError, Refused

if TYPE_CHECKING:
    from pipeline_step.http import Http
    from pipeline_step.scm import PullRequest, Repository, Scm


def reviewed(flags: Flags) -> str | None:
    """The text of the configuration for a command that brings a preview forward; None where a file here is meant.

    That is so where the file is named, and so trusted by whoever wrote the pipeline, and where no pull request or token
    is given to ask with. Raises `Refused` where the provider does not answer.
    """
    pull = pull_of(flags)
    provider = provider_of(pull)
    if named_file(flags) or not (pull.number and provider.token):
        return None
    from pipeline_step.reporter import connect

    scm, http, repository = connect(provider)
    try:
        return read(scm, http, repository, scm.pull_request(http, repository, pull.number))
    except HttpError as error:
        raise Refused(f"the base branch's {DEFAULT_FILE} can't be read, so nothing is shifted: {error}") from error


def read(scm: Scm, http: Http, repository: Repository, pull: PullRequest) -> str:
    """`.pipeline-step.yaml` of the branch that the pull request goes to; raises `ConfigError` where it has none."""
    data = scm.read_file(http, repository, DEFAULT_FILE, pull.base_branch)
    if data is None:
        raise ConfigError(
            f"branch {pull.base_branch} of {repository} has no {DEFAULT_FILE}, and a pull request's own is not "
            "trusted; add it there, or name a file that is trusted with --config"
        )
    return data.decode(errors="replace")
