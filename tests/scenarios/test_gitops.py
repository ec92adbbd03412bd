"""Promotion through Git: Git, the cluster and what the step says agree, whichever way it ends."""

from __future__ import annotations

import pytest

from . import gitops
from .bed import eventually
from .gitops import FILE, Environment, followed, git, local
from .world import STABLE_IMAGE, World, assert_untouched

pytestmark = pytest.mark.timeout(240)
EDIT = {"manifest": {"path": FILE}}


def pushing(world: World) -> Environment:
    """Production's image stands in a repository that the step pushes to."""
    environment = local(world, STABLE_IMAGE)
    gitops_promoter = {"repository": environment.remote, "by": "push", "edits": [EDIT], "ready_within": "60s"}
    world.config["promote"] = {"gitops": {**gitops_promoter, "merge_within": "30s"}}
    world.configure(strategy={"steps": [50], "bake": "0s", "revert_within": "20s"})
    return environment


def reviewed(world: World) -> str:
    """The preview's image by digest."""
    pod = world.bed.api.list("Pod", world.preview_namespace(), "app=croc")[0]
    return "localhost/sample@" + str(pod["status"]["containerStatuses"][0]["imageID"]).rpartition("@")[2]


def test_git_and_the_cluster_and_the_step_agree(world: World) -> None:
    environment = pushing(world)
    world.deploy()
    before = world.virtual_service()
    with followed(world, environment):
        done = world.step("rollout", "-o", "json")

    assert done.code == 0, done.err
    assert done.result["outcome"] == "promoted"
    assert environment.image() == world.production_image() == reviewed(world)
    assert_untouched(before, world.virtual_service())
    changed = [
        line for line in environment.differences().splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    assert len(changed) == 2, "one line differs"
    assert "# by digest where a pipeline promoted it" in changed[1]
    message = git("log", "-1", "--format=%B", folder=environment.clone)
    assert message.startswith("chore: promote croc to version 2\n")
    assert "Pull request 7" in message and "reviewer" in message


def test_what_others_push_meanwhile_stays(world: World) -> None:
    environment = pushing(world)
    hook = world.directory / "environment.git" / "hooks" / "pre-receive"
    # Someone is faster, once: what the step has cloned is old when it pushes.
    other = world.directory / "other"
    git("clone", "--quiet", environment.remote, str(other), folder=world.directory)
    hook.write_text(
        f"#!/bin/sh\n[ -e {world.directory}/raced ] && exit 0\ntouch {world.directory}/raced\n"
        "unset GIT_DIR GIT_QUARANTINE_PATH\n"
        f"cd {other} && echo more >> README.md && git -c user.name=o -c user.email=o@x commit -qam Other\n"
        "git push -q origin HEAD:main\nexit 0\n"
    )
    hook.chmod(0o755)
    world.deploy()
    with followed(world, environment):
        done = world.step("rollout")
    assert done.code == 0, done.err
    assert environment.image() == reviewed(world)
    assert (environment.clone / "README.md").read_text().endswith("more\n")
    assert environment.commits() == 2


def test_production_that_does_not_follow_is_taken_out_of_git(world: World) -> None:
    environment = pushing(world)
    world.config["promote"]["gitops"]["ready_within"] = "4s"
    world.configure()
    world.deploy()
    before, image = world.virtual_service(), world.production_image()

    done = world.step("rollout", "-o", "json")

    assert done.code == 3, done.err
    assert "has to change it" in done.result["reason"]
    assert environment.differences() == "" and environment.commits() == 2
    assert world.production_image() == image
    assert_untouched(before, world.virtual_service())
    assert "Pipeline-Step-Revert: croc@sha256:" in git("log", "-1", "--format=%B", folder=environment.clone)


def test_a_mistake_in_the_edits_changes_nothing(world: World) -> None:
    environment = pushing(world)
    world.config["promote"]["gitops"]["edits"] = [{"manifest": {"path": FILE, "workload": "deployment/shoe"}}]
    world.configure()
    world.deploy()
    before = world.virtual_service()

    done = world.step("rollout")

    assert done.code == 2, done.err
    assert f"{FILE}: it has no deployment/shoe; it has: deployment/croc" in done.err
    assert environment.commits() == 0
    assert_untouched(before, world.virtual_service())


def test_an_abandoned_promotion_is_taken_out_of_git_by_the_guard(world: World) -> None:
    environment = pushing(world)
    world.deploy()
    before, image = world.virtual_service(), world.production_image()
    run = world.begin("rollout")
    eventually(lambda: environment.commits() == 1 or run.process.poll() is not None, "Git was told")
    run.process.kill()
    run.end()
    world.age_lease()

    bare = world.directory / "environment.git"
    bare.rename(world.directory / "away.git")
    done = world.step("guard")
    assert done.code == 6, done.out
    assert "Git still says that it is production" in done.out
    recorded = world.recorded()
    assert recorded is not None and recorded["phase"] == "undoing" and world.weight() == 0
    world.await_answers({"1"})

    (world.directory / "away.git").rename(bare)
    with followed(world, environment):
        assert world.step("guard").code == 0
        assert environment.differences() == ""
        eventually(lambda: world.production_image() == image, "the operator has followed Git back")
        world.await_ready(world.namespace)
    assert_untouched(before, world.virtual_service())
    assert world.step("guard").code == 0
    assert environment.commits() == 2, "a second time there is nothing to do"


def test_a_killed_promotion_is_resumed_without_a_second_commit(world: World) -> None:
    environment = pushing(world)
    world.deploy()
    run = world.begin("rollout", "--run", "one")
    eventually(lambda: environment.commits() == 1 or run.process.poll() is not None, "Git was told")
    run.process.kill()
    run.end()
    with followed(world, environment):
        done = world.step("rollout", "--run", "one")
    assert done.code == 0, done.err
    assert environment.commits() == 1
    assert environment.image() == world.production_image() == reviewed(world)


def test_a_repository_that_is_away_is_one_sentence_and_no_promotion(world: World) -> None:
    environment = pushing(world)
    world.config["promote"]["gitops"] |= {"repository": environment.remote + "-not-there", "merge_within": "1s"}
    world.configure(strategy={"revert_within": "1s"})
    world.deploy()
    done = world.step("rollout")
    assert done.code in (1, 6), done.err
    assert "can't be cloned" in done.err
    assert world.weight() == 0
    assert gitops.image_in((environment.clone / FILE).read_text()) == STABLE_IMAGE


def test_19_a_promotion_is_taken_back_in_git_and_in_the_cluster_and_its_commit_is_bad(world: World) -> None:
    environment = pushing(world)
    world.deploy(sha="abcdef1")
    with followed(world, environment):
        assert world.step("rollout", "--sha", "abcdef1").code == 0
        promoted = environment.image()
        assert promoted == world.production_image()

        done = world.step("revert", "--to", "previous", "--reason", "orders are lost", "--run", "back", "-o", "json")

        assert done.code == 0, done.err
        assert done.result["outcome"] == "reverted"
        assert environment.differences() == "", "the repository is as it was"
        assert world.production_image() == environment.image() == STABLE_IMAGE
        world.await_answers({"1"})

        again = world.step("revert", "--to", "previous", "--run", "back")
        assert again.code == 0 and environment.commits() == 2, "the same run does it once"
        assert world.step("revert", "--to", "previous").code == 5, "nothing else was promoted"

        refused = world.step("rollout", "--sha", "abcdef1")
        assert refused.code == 5
        assert "orders are lost" in refused.err and "--override bad-sha" in refused.err
        assert world.weight() == 0
        done = world.step("rollout", "--sha", "abcdef1", "--override", "bad-sha")
        assert done.code == 0, done.err
        assert world.production_image() == environment.image() == promoted


def test_a_reversal_that_is_killed_is_ended_by_the_guard(world: World) -> None:
    environment = pushing(world)
    world.deploy()
    before = world.virtual_service()
    with followed(world, environment):
        assert world.step("rollout").code == 0
    run = world.begin("revert", "--to", "previous")
    eventually(lambda: environment.commits() == 2 or run.process.poll() is not None, "Git was told")
    run.process.kill()
    run.end()
    assert world.step("guard").code == 0, "its run may still live"
    world.age_lease()
    assert world.step("guard").code == 6, "production has not followed yet"
    with followed(world, environment):
        eventually(lambda: world.production_image() == STABLE_IMAGE)
        world.await_ready(world.namespace)
        eventually(lambda: world.step("guard").code == 0, "the guard has seen it")
    assert environment.differences() == "" and environment.commits() == 2
    assert_untouched(before, world.virtual_service())
    assert world.step("guard", "-o", "json").out.strip() == "[]"
