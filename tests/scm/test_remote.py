"""Git remotes in every spelling, and which provider and repository they mean."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError
from pipeline_step.scm import SCMS
from pipeline_step.scm.remote import detect, locate, parse_remote

DC = "https://bitbucket.corp/rest"


@pytest.mark.parametrize(
    ("remote", "kind", "url", "owner", "name"),
    [
        ("https://github.com/acme/shop.git", "github", "https://api.github.com", "acme", "shop"),
        ("https://github.com/acme/shop", "github", "https://api.github.com", "acme", "shop"),
        ("https://x-access-token:abc@github.com/acme/shop.git", "github", "https://api.github.com", "acme", "shop"),
        ("git@github.com:acme/shop.git", "github", "https://api.github.com", "acme", "shop"),
        ("ssh://git@ssh.github.com:443/acme/shop.git", "github", "https://api.github.com", "acme", "shop"),
        ("github.com:acme/shop", "github", "https://api.github.com", "acme", "shop"),
        ("https://github.example.com/acme/shop", "github", "https://github.example.com/api/v3", "acme", "shop"),
        ("https://gitlab.com/acme/team/shop.git", "gitlab", "https://gitlab.com/api/v4", "acme/team", "shop"),
        ("git@gitlab.example.com:a/b/c/shop.git", "gitlab", "https://gitlab.example.com/api/v4", "a/b/c", "shop"),
        ("https://gitea.example.com:3000/acme/shop", "gitea", "https://gitea.example.com:3000/api/v1", "acme", "shop"),
        ("https://codeberg.org/acme/shop.git", "forgejo", "https://codeberg.org/api/v1", "acme", "shop"),
        ("git@bitbucket.org:acme/shop.git", "bitbucket_cloud", "https://api.bitbucket.org/2.0", "acme", "shop"),
        ("https://bitbucket.corp/scm/ab/shop.git", "bitbucket_dc", DC, "ab", "shop"),
        ("https://stash.corp/git/scm/~ann/x.git", "bitbucket_dc", "https://stash.corp/git/rest", "~ann", "x"),
        ("ssh://git@bitbucket.corp:7999/ab/shop.git", "bitbucket_dc", DC, "ab", "shop"),
        ("https://bitbucket.corp/projects/AB/repos/shop", "bitbucket_dc", DC, "AB", "shop"),
        ("https://bitbucket.corp/users/ann/repos/x", "bitbucket_dc", DC, "~ann", "x"),
        ("https://org@dev.azure.com/org/My%20App/_git/shop", "azure", "https://dev.azure.com/org", "My App", "shop"),
        ("git@ssh.dev.azure.com:v3/org/project/shop", "azure", "https://dev.azure.com/org", "project", "shop"),
        ("https://org.visualstudio.com/project/_git/shop", "azure", "https://dev.azure.com/org", "project", "shop"),
        ("https://org.visualstudio.com/DefaultCollection/p/_git/x", "azure", "https://dev.azure.com/org", "p", "x"),
    ],
)  # fmt: skip
def test_remotes(remote: str, kind: str, url: str, owner: str, name: str) -> None:
    assert detect(parse_remote(remote)) == kind
    scm, repo = locate(remote)
    assert scm is SCMS[kind]()
    assert (repo.url, repo.owner, repo.name) == (url, owner, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("github", "github"),
        ("GitHub", "github"),
        ("gitlab", "gitlab"),
        ("gitea", "gitea"),
        ("bitbucketserver", "bitbucket_dc"),
        ("stash", "bitbucket_dc"),
        ("bitbucketcloud", "bitbucket_cloud"),
        ("bitbucket-cloud", "bitbucket_cloud"),
        ("bitbucket", "bitbucket_cloud"),
        ("azure", "azure"),
        ("azure-devops", "azure"),
        ("forgejo", "forgejo"),
    ],
)
def test_names_of_providers(kind: str, name: str) -> None:
    assert detect(parse_remote("https://git.example.com/acme/shop"), kind) == name


def test_the_named_provider_wins_over_the_host() -> None:
    scm, repo = locate("https://git.example.com/acme/shop", kind="gitlab")
    assert (scm, repo.url) == (SCMS["gitlab"](), "https://git.example.com/api/v4")


def test_the_web_server_of_an_ssh_remote_can_be_named() -> None:
    _, repo = locate("ssh://git@git.internal:2222/acme/shop", kind="gitea", server="https://git.example.com/gitea/")
    assert repo.url == "https://git.example.com/gitea/api/v1"


def test_an_unknown_provider_lists_the_valid_names() -> None:
    names = "azure, bitbucket_cloud, bitbucket_dc, forgejo, gitea, github, gitlab"
    with pytest.raises(ConfigError, match=f"the Git provider 'gogs' is unknown; valid are {names}"):
        detect(parse_remote("https://github.com/a/b"), "gogs")
    with pytest.raises(ConfigError, match=rf"of git\.example\.com can't be told from its name; .* one of {names}"):
        detect(parse_remote("https://git.example.com/a/b"))


@pytest.mark.parametrize("host", ["github.com.evil.example", "notgithub.com", "evil.example"])
def test_a_host_that_only_looks_like_a_public_one_is_not_taken_for_it(host: str) -> None:
    try:
        kind = detect(parse_remote(f"https://{host}/a/b"))
    except ConfigError:
        return
    _, repo = locate(f"https://{host}/a/b")
    assert (kind, repo.url) == ("github", f"https://{host}/api/v3")


@pytest.mark.parametrize(
    "remote",
    ["", "shop", "/srv/git/shop", "file:///srv/git/shop", "https://github.com", "https:///a/b", "https://[::1/a/b",
     "https://github.com/../../x", "ftp://github.com/a/b", "https://github.com:port/a/b", "git@:a/b"],
)  # fmt: skip
def test_what_is_no_remote_is_one_sentence(remote: str) -> None:
    with pytest.raises(ConfigError, match=r"is not valid; valid are https://HOST/OWNER/NAME"):
        parse_remote(remote)


@pytest.mark.parametrize("remote", ["https://github.com/acme", "https://github.com/a/b/c", "https://dev.azure.com/a/b"])
def test_a_path_that_is_no_repository_is_one_sentence(remote: str) -> None:
    with pytest.raises(ConfigError, match="does not end in"):
        locate(remote)


def test_a_token_in_a_remote_is_never_shown() -> None:
    for remote in (
        "https://bot:s3cret@github.com/acme",
        "https://bot:s3cret@git.example.com/a/b",
        "ftp://x:s3cret@h/a",
    ):
        with pytest.raises(ConfigError) as caught:
            locate(remote)
        assert "s3cret" not in str(caught.value)


@settings(deadline=None)
@given(
    st.text() | st.from_regex(r"(https?|ssh)://[a-z.@:]{0,12}/[a-z/.%]{0,12}") | st.from_regex(r"git@[a-z.]+:[a-z/.]*")
)
def test_any_text_is_a_remote_or_an_error(text: str) -> None:
    try:
        scm, repo = locate(text)
    except ConfigError:
        return
    assert repo.url.startswith(("https://", "http://"))
    assert repo.name
    assert scm in [load() for load in SCMS.values()]
