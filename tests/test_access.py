"""Who may ask for what: the rules, and the attacks that they stand against, one test each.

The provider is a server that follows GitHub's rules; what differs between providers is in tests/scm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.access import Freeze, Grant, Rules, check, not_owned, pinned, read_base, same_name, still_pinned
from pipeline_step.comments import Command, Verb, parse
from pipeline_step.errors import Refused
from pipeline_step.http import Http
from pipeline_step.scm import PullRequest, Repository, Role, Scm, merge_pinned
from pipeline_step.scm import github as github_scm

from .scm.providers import github
from .scm.server import TOKEN, Answer, Provider, Request, Running, running
from .scm.world import World, new_world, sha

SEEN = sha("five")
CODEOWNERS = b"* @maria\n/docs/ @acme/operators\n"


@dataclass
class Bed:
    """A pull request's comments, the provider behind them, and a way to ask what a comment may do."""

    world: World
    server: Running
    provider: Provider
    scm: Scm
    repo: Repository
    http: Http

    def ask(self, user: str, text: str, rules: Rules | None = None, **options: Any) -> Grant:
        """`user` posts a comment on pull request 5, whose preview was deployed at `SEEN`; may it be done?"""
        note = self.world.add_note(options.pop("pull", 5), user, text, edited=options.pop("edited", False))
        before = options.pop("before", None)
        if before:
            before()
        pull = self.scm.pull_request(self.http, self.repo, note.pull)
        comment = self.scm.comment(self.http, self.repo, note.pull, str(note.id))
        (command,) = parse(comment.body)
        assert isinstance(command, Command)
        options.setdefault("deployed", SEEN)
        return check(self.scm, self.http, self.repo, pull, comment, command, rules or Rules(), **options)

    def break_route(self, path: str, answer: Callable[[Request], Answer]) -> None:
        """Let the provider answer differently where the path contains `path`."""
        real = self.provider.answer

        def broken(request: Request) -> Answer:
            return answer(request) if path in request.path else real(request)

        self.provider.answer = broken  # type: ignore[method-assign]


@pytest.fixture
def bed() -> Iterator[Bed]:
    world = new_world()
    provider = github.provider(world)
    with running(provider) as server:
        repo = Repository(url=server.url, owner="acme", name="shop")
        http = Http(headers=github_scm.credentials(repo, TOKEN), patience=0, timeout=(1, 0.5))
        yield Bed(world, server, provider, github_scm, repo, http)


def test_whoever_has_the_role_may(bed: Bed) -> None:
    grant = bed.ask("wendy", "/shift 5")
    assert grant.command == Command(verb=Verb.SHIFT, weight=5)
    assert (grant.by, grant.by_name, grant.role, grant.sha, grant.override) == ("wendy", "wendy", Role.WRITE, SEEN, "")
    assert grant.comment.startswith("https://")


@pytest.mark.parametrize("user", ["trish", "rita", "stranger"])
@pytest.mark.parametrize("text", ["/shift 5", "/rollout", "/promote", "/preview", "/unfreeze", "/revert", "/freeze x"])
def test_whoever_lacks_the_role_may_not(bed: Bed, user: str, text: str) -> None:
    with pytest.raises(Refused, match=rf"{user} has the role (triage|read|none) in acme/shop, and this needs write"):
        bed.ask(user, text)


def test_reading_needs_only_reading(bed: Bed) -> None:
    assert bed.ask("rita", "/status").role is Role.READ
    with pytest.raises(Refused, match="stranger has the role none"):
        bed.ask("stranger", "/status")


def test_listed_users_and_teams_are_needed_beside_the_role(bed: Bed) -> None:
    rules = Rules(users=("Olga", "rita"), teams=("operators",))
    assert bed.ask("olga", "/shift 5", rules).by == "olga"
    assert bed.ask("maria", "/shift 5", rules).by == "maria"
    with pytest.raises(Refused, match="wendy is not among the users and teams that the configuration lists"):
        bed.ask("wendy", "/shift 5", rules)
    with pytest.raises(Refused, match="rita has the role read"):
        bed.ask("rita", "/shift 5", rules)


def test_everyone_with_the_role_may_retreat(bed: Bed) -> None:
    strict = Rules(users=("olga",), not_author=True, codeowners=True, branches=("release",))
    frozen = (Freeze(name="sale", reason="the sale"),)
    bed.world.push(5)
    for text in ("/revert", "/pause", "/freeze we see errors", "/shift 0"):
        assert bed.ask("wendy", text, strict, freezes=frozen).by == "wendy"
    bed.world.pulls[5].state = "merged"
    assert bed.ask("wendy", "/revert", strict).by == "wendy"


# Attack: the head moves after the comment, so that what runs is not what was reviewed.


def test_attack_push_between_comment_and_action(bed: Bed) -> None:
    for text in ("/shift 5", "/rollout", "/promote", "/resume", "/skip"):
        with pytest.raises(
            Refused, match=rf"moved from {SEEN[:12]}, whose preview was deployed, to \w{{12}}; review it"
        ):
            bed.ask("wendy", text, before=lambda: bed.world.push(5))


def test_attack_push_after_a_comment_that_names_the_commit(bed: Bed) -> None:
    with pytest.raises(Refused, match=rf"is at \w{{12}} now, not at {SEEN[:7]}; review it and ask again"):
        bed.ask("wendy", f"/shift 5 {SEEN[:7]}", before=lambda: bed.world.push(5))


def test_attack_first_command_without_a_preview_that_was_seen(bed: Bed) -> None:
    with pytest.raises(
        Refused, match=rf"no preview that would tell which commit is meant; name it, as in /shift 5 {SEEN[:12]}$"
    ):
        bed.ask("wendy", "/shift 5", deployed="")
    assert bed.ask("wendy", f"/shift 5 {SEEN[:12]}", deployed="").sha == SEEN


def test_attack_commit_of_another_pull_request_is_named(bed: Bed) -> None:
    with pytest.raises(Refused, match="review it and ask again"):
        bed.ask("wendy", f"/shift 5 {sha('six')[:10]}")


def test_attack_push_between_two_increases(bed: Bed) -> None:
    grant = bed.ask("wendy", "/rollout")
    still_pinned(bed.scm.pull_request(bed.http, bed.repo, 5), grant.sha)
    bed.world.push(5)
    with pytest.raises(Refused, match=rf"pull request 5 moved from {SEEN[:12]} to \w{{12}} in the meantime"):
        still_pinned(bed.scm.pull_request(bed.http, bed.repo, 5), grant.sha)


def test_attack_pull_request_is_closed_between_two_increases(bed: Bed) -> None:
    bed.world.pulls[5].state = "merged"
    with pytest.raises(Refused, match="was merged in the meantime"):
        still_pinned(bed.scm.pull_request(bed.http, bed.repo, 5), SEEN)


def test_attack_push_between_the_last_gate_and_the_merge(bed: Bed) -> None:
    grant = bed.ask("wendy", "/promote")
    bed.world.push_before_merge = True
    with pytest.raises(Refused, match="no longer at"):
        merge_pinned(bed.scm, bed.http, bed.repo, 5, grant.sha, "Promote")
    assert bed.world.pulls[5].state == "open"


# Attack: a commenter who may not, or not any more.


def test_attack_author_association_claims_an_owner(bed: Bed) -> None:
    """The server's comments say author_association OWNER for everyone; it decides nothing."""
    with pytest.raises(Refused, match="stranger has the role none"):
        bed.ask("stranger", "/promote")


def test_attack_permission_was_taken_away(bed: Bed) -> None:
    assert bed.ask("wendy", "/shift 5").role is Role.WRITE
    bed.world.users["wendy"].role = Role.READ
    with pytest.raises(Refused, match="wendy has the role read"):
        bed.ask("wendy", "/shift 5")


def test_attack_label_ok_to_test_lends_no_permission(bed: Bed) -> None:
    bed.world.pulls[5].labels = ("ok-to-test", "lgtm", "approved")
    with pytest.raises(Refused, match="rita has the role read"):
        bed.ask("rita", "/shift 5")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, {"message": "oops"}),
        Answer(403, {"message": "Must have admin rights"}),
        Answer(200, []),
        Answer(200, {"permission": 7}),
        Answer(200, {}),
        Answer(200, b"<html>"),
        Answer(301, None, {"Location": "https://evil.invalid/"}),
    ],
    ids=lambda answer: str(answer)[:30],
)
@pytest.mark.parametrize("where", ["/permission", "/memberships/", "/contents/", "/files"])
def test_attack_an_error_in_a_check_never_allows(bed: Bed, where: str, answer: Answer) -> None:
    bed.world.contents["CODEOWNERS"] = b"* @acme/operators\n"
    rules = Rules(teams=("operators",), codeowners=True)
    assert bed.ask("maria", "/shift 5", rules).by == "maria"
    bed.break_route(where, lambda request: answer)
    with pytest.raises(Refused, match=r"refused, since it can.t be checked|tells no changed files"):
        bed.ask("maria", "/shift 5", rules)


def test_attack_a_provider_that_is_silent_never_allows(bed: Bed) -> None:
    import time

    def silent(request: Request) -> Answer:
        time.sleep(0.8)
        return Answer(200, {"permission": "admin", "role_name": "admin"})

    bed.break_route("/permission", silent)
    with pytest.raises(Refused, match=r"no complete answer within 0.5 s"):
        bed.ask("wendy", "/shift 5")


def test_attack_edited_comment(bed: Bed) -> None:
    """Someone with the right to edit puts a command into a maintainer's harmless comment."""
    for text in ("/shift 50", "/revert", "/unfreeze"):
        with pytest.raises(Refused, match="the comment was edited after it was posted"):
            bed.ask("olga", text, edited=True)


def test_attack_comment_of_an_account_that_is_gone(bed: Bed) -> None:
    pull = bed.scm.pull_request(bed.http, bed.repo, 5)
    note = bed.world.add_note(5, "wendy", "/shift 5")
    comment = replace(bed.scm.comment(bed.http, bed.repo, 5, str(note.id)), author="")
    command = Command(verb=Verb.SHIFT, weight=5)
    with pytest.raises(Refused, match="no account any more"):
        check(bed.scm, bed.http, bed.repo, pull, comment, command, Rules(), deployed=SEEN)


def test_attack_comment_of_another_pull_request(bed: Bed) -> None:
    note = bed.world.add_note(7, "olga", "/shift 50")
    with pytest.raises(Refused, match=f"comment {note.id} is not on pull request 5"):
        bed.scm.comment(bed.http, bed.repo, 5, str(note.id))


def test_attack_approving_ones_own_pull_request(bed: Bed) -> None:
    assert bed.ask("wendy", "/shift 5").by == "wendy"
    with pytest.raises(Refused, match="pull request 5 needs someone other than its author"):
        bed.ask("wendy", "/shift 5", Rules(not_author=True))
    assert bed.ask("olga", "/shift 5", Rules(not_author=True)).by == "olga"


def test_attack_authors_own_name_in_other_letters(bed: Bed) -> None:
    bed.world.users["WENDY"] = replace(bed.world.users["wendy"], login="WENDY")
    with pytest.raises(Refused, match="someone other than its author"):
        bed.ask("WENDY", "/shift 5", Rules(not_author=True))


# Attack: code or configuration of the pull request decides about itself.


@pytest.mark.parametrize("text", ["/shift 5", "/rollout", "/promote", "/preview"])
def test_attack_pull_request_from_a_fork(bed: Bed, text: str) -> None:
    with pytest.raises(Refused, match="pull request 6 comes from a fork"):
        bed.ask("olga", text, pull=6, deployed=sha("six"))
    assert bed.ask("olga", text, Rules(forks=True), pull=6, deployed=sha("six")).sha == sha("six")


def test_attack_configuration_changed_in_the_pull_request(bed: Bed) -> None:
    bed.world.proposed[".pipeline-step.yaml"] = b"app: shop\naccess: {role: none}\n"
    pull = bed.scm.pull_request(bed.http, bed.repo, 5)
    assert read_base(bed.scm, bed.http, bed.repo, pull, ".pipeline-step.yaml") == b"app: shop\n"
    asked = [exchange["request"] for exchange in bed.server.exchanges if "/contents/" in exchange["request"]]
    assert asked == ["GET /repos/acme/shop/contents/.pipeline-step.yaml?ref=main"]


def test_attack_codeowners_changed_in_the_pull_request(bed: Bed) -> None:
    bed.world.contents["CODEOWNERS"] = CODEOWNERS
    bed.world.proposed["CODEOWNERS"] = b"* @wendy\n"
    with pytest.raises(Refused, match=r"wendy does not own src/app\.py and 2 more"):
        bed.ask("wendy", "/shift 5", Rules(codeowners=True))
    assert bed.ask("maria", "/shift 5", Rules(codeowners=True)).by == "maria"


def test_attack_codeowners_file_taken_away(bed: Bed) -> None:
    with pytest.raises(Refused, match="branch main has no CODEOWNERS file"):
        bed.ask("olga", "/shift 5", Rules(codeowners=True))


def test_attack_pull_request_against_a_branch_with_other_rules(bed: Bed) -> None:
    bed.world.pulls[5].base_branch = "wendys-branch"
    with pytest.raises(Refused, match="goes to wendys-branch, and only main, release may be rolled out"):
        bed.ask("wendy", "/shift 5", Rules(branches=("main", "release")))


# Attack: an override that is not theirs to give.


def test_attack_override_of_a_freeze_without_the_right(bed: Bed) -> None:
    freeze = Freeze(name="sale", reason="the sale begins", teams=("operators",))
    with pytest.raises(Refused, match="sale holds every rollout: the sale begins; who may, adds --override sale"):
        bed.ask("olga", "/shift 5", freezes=(freeze,))
    with pytest.raises(Refused, match="wendy may not override sale: the sale begins"):
        bed.ask("wendy", "/shift 5 --override sale", freezes=(freeze,))
    assert bed.ask("olga", "/shift 5 --override sale", freezes=(freeze,)).override == "sale"
    assert bed.ask("maria", "/promote --override sale", freezes=(freeze,)).override == "sale"


def test_attack_override_of_one_freeze_while_another_holds(bed: Bed) -> None:
    both = (Freeze(name="sale", reason="a"), Freeze(name="audit", reason="b"))
    with pytest.raises(Refused, match="audit holds every rollout: b"):
        bed.ask("olga", "/shift 5 --override sale", freezes=both)


def test_an_override_without_a_freeze_is_not_recorded_as_one(bed: Bed) -> None:
    assert bed.ask("wendy", "/shift 5 --override sale").override == ""


# The pure rules.


def pull_at(head: str, **more: Any) -> PullRequest:
    fields = dict.fromkeys(("author", "url", "base", "base_branch"), "")
    return PullRequest(number=5, head=head, open=True, from_fork=False, labels=(), **{**fields, **more})


@settings(deadline=None)
@given(st.text("0123456789abcdef", min_size=40, max_size=40), st.text("0123456789abcdef", min_size=40, max_size=40))
def test_only_the_head_is_ever_pinned(head: str, deployed: str) -> None:
    for verb in (Verb.SHIFT, Verb.ROLLOUT, Verb.PROMOTE, Verb.RESUME, Verb.SKIP):
        command = Command(verb=verb, weight=5 if verb is Verb.SHIFT else None)
        if head == deployed:
            assert pinned(command, pull_at(head), deployed) == head
            continue
        with pytest.raises(Refused):
            pinned(command, pull_at(head), deployed)


@settings(deadline=None)
@given(st.text("0123456789abcdef", min_size=40, max_size=40), st.integers(0, 40))
def test_a_named_commit_needs_seven_digits(head: str, digits: int) -> None:
    command = Command(verb=Verb.SHIFT, weight=5, sha=head[:digits])
    if digits == 0 or digits >= 7:
        assert pinned(command, pull_at(head), head) == head
    else:
        with pytest.raises(Refused):
            pinned(command, pull_at(head), head)


def test_a_head_that_is_abbreviated_or_missing_is_refused() -> None:
    for head in ("", SEEN[:12]):
        with pytest.raises(Refused, match="does not tell the head"):
            pinned(Command(verb=Verb.REVERT), pull_at(head), head)


@pytest.mark.parametrize(
    ("user", "teams", "foreign"),
    [
        ("maria", (), ("docs/a.md",)),
        ("MARIA", ("acme/operators",), ()),
        ("wendy", ("acme/operators",), ("src/app.py",)),
        ("wendy", (), ("src/app.py", "docs/a.md")),
    ],
)
def test_owners(user: str, teams: tuple[str, ...], foreign: tuple[str, ...]) -> None:
    text = f"{CODEOWNERS.decode()}/free.txt\n/mail/ someone@example.com\n"
    assert not_owned(text, ("src/app.py", "docs/a.md", "free.txt"), user, lambda team: team in teams) == foreign
    assert not_owned(text, ("mail/x",), user, lambda team: team in teams) == ("mail/x",)


def test_an_empty_owner_means_that_nobody_is_asked() -> None:
    assert not_owned("* @maria\n/generated/\n", ("generated/x",), "wendy", lambda team: False) == ()


@pytest.mark.parametrize("text", ["[Docs]\n* @maria\n", "^[Docs][2] @maria\n*\n", "/a[b @maria\n"])
def test_owners_that_cannot_be_judged_refuse(text: str) -> None:
    with pytest.raises(Refused, match="CODEOWNERS"):
        not_owned(text, ("x",), "maria", lambda team: True)


@settings(deadline=None)
@given(st.text(), st.lists(st.text(min_size=1)))
def test_any_owners_file_gives_an_answer_or_a_refusal(text: str, files: list[str]) -> None:
    try:
        foreign = not_owned(text, files, "wendy", lambda team: False)
    except Refused:
        return
    assert set(foreign) <= set(files)


def test_names_are_the_same_in_ascii_letters_of_any_case_only() -> None:
    assert same_name("Wendy", "wENDY")
    assert not same_name("\u212aarl", "karl")
    assert not same_name("ß", "ss")
