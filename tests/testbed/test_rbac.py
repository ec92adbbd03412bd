"""The step's own image in pods, with the accounts that `roles` prints: enough for the whole story, and nothing more.

What the accounts did is read from the API server's audit log.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from pipeline_step.cli import ACCOUNTS
from tests.image import build
from tests.scm import gitea_server

from . import cluster, environment, images, network
from . import rbac_world as world
from .errors import TestbedError
from .rbac_world import HOME, PREVIEWS, PRODUCTION, SHA, Ended

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(900)]

CONFINE = build.ROOT / "deploy" / "rbac" / "namespace-per-pull-request" / "confine.yaml"
CRASH = ("configmap", "shop", "--from-literal=CRASH=1")


class Use(NamedTuple):
    """One thing that an account may do, or did."""

    account: str
    namespace: str
    group: str
    resource: str
    name: str
    verb: str


class Story(NamedTuple):
    """What was granted, how each command ended, what was seen from outside, and what the audit log says."""

    documents: list[dict[str, Any]]
    ended: dict[str, Ended]
    seen: dict[str, Any]
    used: list[Use]
    refused: list[Use]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> None:
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    try:
        images.load(build.archive(), world.IMAGE)
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def story(image: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Everything that the three accounts are for, once, with two promotions that fail and a run that is killed."""
    folder = tmp_path_factory.mktemp("rbac")
    log = Path(environment.load().audit_log)
    begin = log.stat().st_size
    token = {} if gitea_server.missing() else {"GIT_TOKEN": "given, so that guard collects previews"}
    with world.world(folder):
        text = world.roles(folder, **token)
        world.apply(text, folder)
        documents = list(yaml.safe_load_all(text))
        ended: dict[str, Ended] = {}
        seen: dict[str, Any] = {}
        _rollout(ended, seen)
        _shift_and_revert(ended, seen)
        _failing_promotion(ended, seen)
        _killed_promotion(ended, seen)
        _killed_reversal(ended, seen)
        _failing_preview(ended)
        ended["delete"] = world.run("delete", "preview", "preview", "--delete")
        if token:
            _closed_pull_request(ended, seen, folder)
        used, refused = _audited(log, begin)
        yield Story(documents, ended, seen, used, refused)


def _rollout(ended: dict[str, Ended], seen: dict[str, Any]) -> None:
    ended["preview"] = world.run("preview", "preview", "preview", "--image", "localhost/sample:2", "--sha", SHA)
    for account in ACCOUNTS:
        ended[f"doctor {account}"] = world.run(f"doctor-{account}", account, "doctor", "--account", account)
    ended["plan"] = world.run("plan", "shift", "plan", "--weight", "10")
    ended["status"] = world.run("status", "shift", "status")
    before = _route()
    with world.requests() as answers:
        ended["rollout"] = world.run("rollout", "shift", "rollout")
    seen["rollout answers"] = answers
    seen["rollout image"] = _production_image()
    seen["rollout route"] = (before, _route())


def _shift_and_revert(ended: dict[str, Ended], seen: dict[str, Any]) -> None:
    ended["preview 2"] = world.run(
        "preview-2", "preview", "preview", "--image", "localhost/sample:3", "--sha", "b" * 40
    )
    with world.requests() as answers:
        ended["shift"] = world.run("shift", "shift", "shift", "10")
        seen["shift route"] = _route()
        ended["delete with requests"] = world.run("delete-early", "preview", "preview", "--delete")
        ended["revert"] = world.run("revert", "shift", "revert")
    seen["shift answers"] = answers
    seen["revert route"] = _route()


def _failing_promotion(ended: dict[str, Ended], seen: dict[str, Any]) -> None:
    """Production's own configuration was broken since its pods started: the promoted image dies there."""
    before = _production_image()
    cluster.kubectl("create", *CRASH, "-n", PRODUCTION)
    with world.requests():
        ended["failing promote"] = world.run("failing", "shift", "promote")
    cluster.kubectl("delete", "configmap", "shop", "-n", PRODUCTION)
    seen["failing images"] = (before, _production_image())


def _killed_promotion(ended: dict[str, Ended], seen: dict[str, Any]) -> None:
    """A run is killed while production rolls out; nobody renews its lease any more, so guard undoes it."""
    before = _production_image(), _route()
    with world.requests():
        world.start("killed", "shift", "promote")
        world.until(
            "the promotion is recorded", lambda: '"phase":"promoting"' in json.dumps(_record()).replace("\\", "")
        )
        world.until("production is changed", lambda: _production_image() != before[0])
        world.kill("killed")
        _age_lease()
        ended["guard"] = world.run("guard", "guard", "guard")
    seen["guard"] = (before, (_production_image(), _route()))


def _killed_reversal(ended: dict[str, Ended], seen: dict[str, Any]) -> None:
    """A run is killed while it takes the first promotion back; guard ends that."""
    promoted = _production_image()
    with world.requests():
        world.start("killed-back", "shift", "revert", "--to", "previous")
        world.until("production is changed back", lambda: _production_image() != promoted)
        world.kill("killed-back")
        _age_lease()
        cluster.kubectl("rollout", "status", "deployment/shop", "-n", PRODUCTION, "--timeout=60s")
        ended["guard back"] = world.run("guard-back", "guard", "guard")
    seen["guard back"] = (promoted, _production_image())


def _age_lease() -> None:
    """Nobody has renewed the target's lease for long."""
    long_ago = json.dumps({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}})
    cluster.kubectl("patch", "lease", "pipeline-step-shop", "-n", PRODUCTION, "--type=merge", f"--patch={long_ago}")


def _failing_preview(ended: dict[str, Ended]) -> None:
    cluster.kubectl("create", *CRASH, "-n", PREVIEWS)
    ended["failing preview"] = world.run("failing-preview", "preview", "preview", "--image", "localhost/sample:1")
    cluster.kubectl("delete", "configmap", "shop", "-n", PREVIEWS)


def _closed_pull_request(ended: dict[str, Ended], seen: dict[str, Any], folder: Path) -> None:
    """A preview has requests when its pull request is closed in a real Gitea."""
    accounts = {account: world.kubeconfig(account, folder) for account in ACCOUNTS}
    place = folder / "gitea"
    place.mkdir()
    with network.entered(), gitea_server.running(place) as gitea:
        sha = gitea.commit("wendy", "change", {"change.txt": "a change\n"})
        number = str(gitea.open_pull("wendy", "change"))
        given = ("--pr", number, "--image", "localhost/sample:1", "--sha", sha)
        ended["closed: preview"] = world.here(accounts["preview"], folder, "preview", *given)
        git = {"GIT_KIND": "gitea", "GIT_SERVER": gitea.url, "GIT_TOKEN": gitea.tokens["bot"]}
        asked = ("comment", gitea.say("wendy", int(number), "/shift 10"), "--config", ".pipeline-step.yaml")
        with world.requests():
            ended["closed: comment"] = world.here(accounts["shift"], folder, *asked, "--pr", number, **git)
        gitea.api("wendy", "PATCH", f"/repos/acme/shop/pulls/{number}", {"state": "closed"})
        ended["closed: guard"] = world.here(accounts["guard"], folder, "guard", **git)
        unreachable = {**git, "GIT_SERVER": "http://127.0.0.1:9"}
        ended["owed: revert"] = world.here(accounts["shift"], folder, "revert", "--pr", number, **unreachable)
        _age_debts()
        ended["owed: guard"] = world.here(accounts["guard"], folder, "guard", **git)
    seen["closed: left"] = cluster.kubectl("get", "deployments,services", "-n", PREVIEWS, "--output=name").split()


def _age_debts() -> None:
    """What the pull request is owed has been owed for long: the run had its time to say it."""
    lease = world.get("lease", "pipeline-step-comments-shop", PRODUCTION)
    debts = json.loads(lease["metadata"]["annotations"]["pipeline-step.dev/owed"])
    long_ago = json.dumps({key: {**debt, "at": 1.0} for key, debt in debts.items()})
    change = json.dumps({"metadata": {"annotations": {"pipeline-step.dev/owed": long_ago}}})
    cluster.kubectl(
        "patch", "lease", "pipeline-step-comments-shop", "-n", PRODUCTION, "--type=merge", f"--patch={change}"
    )


def _route() -> Any:
    return world.get("virtualservice", "shop", PRODUCTION)["spec"]["http"]


def _record() -> Any:
    return world.get("virtualservice", "shop", PRODUCTION)["metadata"].get("annotations", {})


def _production_image() -> str:
    return str(world.get("deployment", "shop", PRODUCTION)["spec"]["template"]["spec"]["containers"][0]["image"])


def _audited(log: Path, begin: int) -> tuple[list[Use], list[Use]]:
    """What the accounts did and what they were refused; questions that everyone may ask are left out."""
    used: list[Use] = []
    refused: list[Use] = []
    with log.open() as lines:
        lines.seek(begin)
        for event in map(json.loads, lines):
            match = re.fullmatch(
                rf"system:serviceaccount:{HOME}:pipeline-step-(\w+)", event["user"].get("username", "")
            )
            place = event.get("objectRef") or {}
            if match is None or "resource" not in place or place.get("apiGroup") == "authorization.k8s.io":
                continue
            resource = "/".join(filter(None, (place["resource"], place.get("subresource"))))
            where = (place.get("namespace", ""), place.get("apiGroup", ""), resource, place.get("name", ""))
            use = Use(match[1], *where, event["verb"])
            code = event["responseStatus"]["code"]
            (refused if code == 403 else used).append(use)
            if event["verb"] == "patch" and code == 201:  # server-side apply asks for this verb too where it creates
                used.append(use._replace(verb="create"))
    return used, refused


def _grants(documents: list[dict[str, Any]]) -> list[Use]:
    """Every verb on every resource of every Role, one by one; "" is any name, and in a ClusterRole any namespace."""
    bound = {
        (document["roleRef"]["name"], document["metadata"].get("namespace", "")): document["subjects"][0]["name"]
        for document in documents
        if document["kind"].endswith("Binding")
    }
    grants = []
    for document in documents:
        if document["kind"] not in ("Role", "ClusterRole"):
            continue
        place = document["metadata"].get("namespace", "")
        account = bound[document["metadata"]["name"], place].removeprefix("pipeline-step-")
        grants += [
            Use(account, place, group, resource, name, verb)
            for rule in document["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for name in rule.get("resourceNames", [""])
            for verb in rule["verbs"]
        ]
    return grants


def _covers(grant: Use, use: Use) -> bool:
    return (
        (grant.account, grant.group, grant.resource, grant.verb) == (use.account, use.group, use.resource, use.verb)
        and grant.namespace in ("", use.namespace)
        and grant.name in ("", use.name)
    )


def test_the_whole_story_ends_as_it_should(story: Story) -> None:
    codes = {name: ended.code for name, ended in story.ended.items()}
    expected = dict.fromkeys(codes, 0) | {"failing promote": 3, "failing preview": 4, "delete with requests": 6}
    assert codes == expected, {name: ended.output for name, ended in story.ended.items()}


def test_a_rollout_in_a_pod_promotes_by_digest_and_loses_no_request(story: Story) -> None:
    assert re.fullmatch(r"localhost/sample@sha256:[0-9a-f]{64}", story.seen["rollout image"])
    before, after = story.seen["rollout route"]
    assert after == before
    assert set(story.seen["rollout answers"]) == {"1", "2"}, story.seen["rollout answers"]


def test_a_shift_in_a_pod_holds_until_a_revert_restores_the_route(story: Story) -> None:
    weights = [destination["weight"] for destination in story.seen["shift route"][0]["route"]]
    assert weights == [90, 10]
    assert story.seen["revert route"] == story.seen["rollout route"][0]
    assert set(story.seen["shift answers"]) == {"2", "3"}, story.seen["shift answers"]


def test_a_promotion_that_dies_in_production_is_undone_with_its_last_words(story: Story) -> None:
    before, after = story.seen["failing images"]
    assert after == before
    assert "its last lines: " in story.ended["failing promote"].output
    assert "panic: CRASH=1" in story.ended["failing promote"].output


def test_guard_in_a_pod_undoes_a_promotion_whose_run_was_killed(story: Story) -> None:
    before, after = story.seen["guard"]
    assert after == before
    assert re.search(r"done  shop-pr-7\S+ had 0 %, left by run \S+ .*: reverted", story.ended["guard"].output)


def test_guard_in_a_pod_ends_a_reversal_whose_run_was_killed(story: Story) -> None:
    promoted, after = story.seen["guard back"]
    assert after == "localhost/sample:1" != promoted
    assert "was being reverted: production runs localhost/sample:1 again" in story.ended["guard back"].output


def test_a_preview_that_dies_is_told_with_its_last_words(story: Story) -> None:
    assert "panic: CRASH=1" in story.ended["failing preview"].output


def test_guard_collects_the_preview_of_a_closed_pull_request_and_no_other(story: Story) -> None:
    if "closed: guard" not in story.ended:
        pytest.skip(gitea_server.missing())
    assert "was drained and deleted" in story.ended["closed: guard"].output
    assert story.seen["closed: left"] == []
    assert _weightless(story)


def test_guard_tells_what_a_pull_request_is_owed(story: Story) -> None:
    if "owed: guard" not in story.ended:
        pytest.skip(gitea_server.missing())
    assert re.search(r"done  pull request \d+ was told", story.ended["owed: guard"].output)


def _weightless(story: Story) -> bool:
    return bool(story.seen["revert route"] == _route())


def test_the_account_of_previews_may_not_touch_productions_route(story: Story) -> None:
    """Its preview still had requests: it is told to take them back first, by an account that may."""
    output = story.ended["delete with requests"].output
    assert "refused PUT of virtualservices.networking.istio.io rbac-production/shop: HTTP 403" in output
    assert "pipeline-step revert" in output
    assert {use._replace(name="") for use in story.refused} == {
        Use("preview", PRODUCTION, "networking.istio.io", "virtualservices", "", "update")
    }


def test_no_rule_is_missing_and_none_goes_beyond_the_roles(story: Story) -> None:
    """Whatever an account did is in a Role that was shipped, not in one that it has from elsewhere."""
    grants = _grants(story.documents)
    assert story.used
    assert [use for use in story.used if not any(_covers(grant, use) for grant in grants)] == []


def test_no_rule_is_unused(story: Story) -> None:
    if "closed: comment" not in story.ended:
        pytest.skip(gitea_server.missing())
    assert [grant for grant in _grants(story.documents) if not any(_covers(grant, use) for use in story.used)] == []


def test_no_role_reaches_secrets_or_writes_in_the_whole_cluster(story: Story) -> None:
    grants = _grants(story.documents)
    assert not [grant for grant in grants if grant.resource == "secrets" or "*" in grant]
    assert not [document for document in story.documents if document["kind"] == "ClusterRole"]


@contextmanager
def _without(document: dict[str, Any], grant: Use, folder: Path) -> Iterator[None]:
    """The Role without one verb on one resource."""
    less = copy.deepcopy(document)
    rules = []
    for rule in less["rules"]:
        names = rule.get("resourceNames", [""])
        if grant.resource in rule["resources"] and grant.group in rule["apiGroups"] and grant.name in names:
            others = {**rule, "resources": [one for one in rule["resources"] if one != grant.resource]}
            lessened = {**rule, "resources": [grant.resource], "verbs": [v for v in rule["verbs"] if v != grant.verb]}
            rules += [one for one in (others, lessened) if one["resources"] and one["verbs"]]
        else:
            rules.append(rule)
    less["rules"] = rules
    world.apply(yaml.safe_dump(less), folder)
    try:
        yield
    finally:
        world.apply(yaml.safe_dump(document), folder)


@pytest.mark.parametrize("account", ACCOUNTS)
def test_doctor_refuses_for_each_permission_that_is_taken_away(account: str, story: Story, tmp_path: Path) -> None:
    """One after the other; doctor names the verb, the resource and what it is needed for."""
    kubeconfig = world.kubeconfig(account, tmp_path)
    token = {"GIT_TOKEN": "given, so that guard collects previews"} if "closed: guard" in story.ended else {}
    ended = world.here(kubeconfig, tmp_path, "doctor", "--account", account, **(token if account == "guard" else {}))
    assert "FAIL  this account may not" not in ended.output
    roles = [document for document in story.documents if document["kind"] == "Role"]
    taken = 0
    for document in roles:
        for grant in _grants([document, *(d for d in story.documents if d["kind"].endswith("Binding"))]):
            if grant.account != account:
                continue
            with _without(document, grant, tmp_path):
                _sees_the_gap(kubeconfig, grant, tmp_path, token if account == "guard" else {})
            taken += 1
    assert taken == len([grant for grant in _grants(story.documents) if grant.account == account])


def _sees_the_gap(kubeconfig: Path, grant: Use, folder: Path, variables: dict[str, str]) -> None:
    kind = f"{grant.resource}.{grant.group}" if grant.group else grant.resource
    line = rf"FAIL  this account may not {grant.verb} {kind} .*, needed to \w.* \({grant.account}\)"

    def told() -> bool:
        ended = world.here(kubeconfig, folder, "doctor", "--account", grant.account, **variables)
        return ended.code == 5 and len(re.findall(line, ended.output)) == 1

    world.until(f"doctor misses {grant}", told, patience=15)


def test_accounts_of_namespaces_that_nobody_knows_yet_are_confined(image: None, tmp_path: Path) -> None:
    """Each preview has a namespace of its own: the Roles are cluster-wide, and the policies keep them to previews."""
    own = {**world.CONFIG, "preview": {**world.CONFIG["preview"], "namespace": "rbac-pr-{number}"}}
    with world.world(tmp_path, own), _policies():
        cluster.kubectl("label", "namespace", PRODUCTION, "pipeline-step.dev/scraped=true")
        text = world.roles(tmp_path, GIT_TOKEN="given, so that guard collects previews")
        world.apply(text, tmp_path)
        try:
            done = world.run("preview", "preview", "preview", "--image", "localhost/sample:2", "--sha", "c" * 40)
            assert done.code == 0, done.output
            for account in ACCOUNTS:
                done = world.run(f"doctor-{account}", account, "doctor", "--account", account)
                assert done.code == 0, done.output
            with world.requests():
                done = world.run("rollout", "shift", "rollout")
            assert done.code == 0, done.output
            _confined(tmp_path)
            done = world.run("delete", "preview", "preview", "--delete")
            assert done.code == 0, done.output
            gone = cluster.kubectl(
                "get", "namespace", "rbac-pr-7", "--ignore-not-found", "-o", "jsonpath={.status.phase}"
            )
            assert gone in ("", "Terminating")
        finally:
            cluster.kubectl("delete", "namespace", "rbac-pr-7", "--ignore-not-found", "--wait=false")
            for kind in ("clusterrole", "clusterrolebinding"):
                names = [f"pipeline-step-{account}-shop" for account in ACCOUNTS]
                cluster.kubectl("delete", kind, *names, "--ignore-not-found")


@contextmanager
def _policies() -> Iterator[None]:
    cluster.kubectl("apply", "-f", str(CONFINE))
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", str(CONFINE))


def _confined(folder: Path) -> None:
    """What the ClusterRoles would allow and the policies do not."""

    def tried(account: str, *arguments: str) -> str:
        with pytest.raises(TestbedError) as refusal:
            cluster.kubectl(f"--as=system:serviceaccount:{HOME}:pipeline-step-{account}", *arguments)
        return str(refusal.value)

    own = "works only in namespaces that it made for one"
    assert own in tried("preview", "create", "deployment", "x", "--image=localhost/sample:1", "-n", PRODUCTION)
    assert own in tried("preview", "create", "namespace", "rbac-unlabelled")
    assert own in tried("preview", "delete", "namespace", PREVIEWS, "--wait=false")
    assert "deletes only namespaces" in tried("guard", "delete", "namespace", PREVIEWS, "--wait=false")
    pods = cluster.kubectl("get", "pods", "-n", "istio-system", "--output=jsonpath={.items[0].metadata.name}")
    proxied = f"--raw=/api/v1/namespaces/istio-system/pods/{pods}:15000/proxy/"
    assert "reaches pods only in previews" in tried("shift", "get", proxied)
