"""The YAML of tekton/ and jenkins-x/ without a cluster: complete, and at one with itself and the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipeline_step import report
from pipeline_step.cli import cli
from pipeline_step.comments import USAGE, Command, Verb, parse
from pipeline_step.run import Result

Obj = dict[str, Any]
REPOSITORY = Path(__file__).parents[2]
TEKTON, JENKINS_X = REPOSITORY / "tekton", REPOSITORY / "jenkins-x"
TRIGGERS = JENKINS_X / "packs/pipeline-step/.lighthouse/pipeline-step/triggers.yaml"
FILES = [
    path for folder in (TEKTON, JENKINS_X) for path in sorted(folder.rglob("*.yaml")) if "templates" not in path.parts
]
CATALOG = [
    path for path in FILES if re.search(r"tekton/(task|stepaction|pipeline)/[^/]+/[^/]+/[^/]+\.yaml$", str(path))
]
TASKS = [path for path in CATALOG if "task" in path.parts]
SAMPLES = [path for path in FILES if "samples" in path.parts]
RUNS = [path for path in FILES if "tasks" in path.parts or ".lighthouse" in path.parts or ".tekton" in path.parts]
COMMON = (
    "name",
    "args",
    "command",
)
"""What differs between the steps of the Tasks."""


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def documents(path: Path) -> list[Obj]:
    """All documents of a file, none of them empty."""
    found = list(yaml.safe_load_all(path.read_text()))
    assert all(isinstance(document, dict) for document in found)
    return found


def only(path: Path) -> Obj:
    (document,) = documents(path)
    return document


def steps_below(node: Any) -> Iterator[Obj]:
    """Every step or container: a mapping with an image."""
    if isinstance(node, dict):
        if (
            "image" in node
            and isinstance(node["image"], str)
            and ("name" in node or "kind" in node or "script" in node)
        ):
            yield node
        for value in node.values():
            yield from steps_below(value)
    elif isinstance(node, list):
        for value in node:
            yield from steps_below(value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_parameter_is_put_into_a_script(path: Path) -> None:
    for document in documents(path):
        for step in steps_below(document):
            assert "$(" not in re.sub(r"\$\((cat|printf|git) ", "", step.get("script", "")), step["name"]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_every_container_of_ours_is_locked_down(path: Path) -> None:
    for document in documents(path):
        for step in steps_below(document.get("spec", {}) | {"spec": document.get("spec")} if document else {}):
            if not re.search(r"localhost/pipeline-step|step-image", step["image"]):
                continue
            security = step["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            if document["kind"] != "CronJob":  # there the pod says it
                assert security["runAsNonRoot"] is True
                assert security["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_images_are_of_this_version(path: Path) -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    for image in re.findall(r"localhost/pipeline-step:(\S+)", path.read_text()):
        assert image == version


@pytest.mark.parametrize("path", CATALOG, ids=name_of)
def test_the_catalog_has_what_artifact_hub_wants(path: Path) -> None:
    document = only(path)
    metadata, version = document["metadata"], path.parent.name
    assert path.stem == metadata["name"] == path.parents[1].name
    assert metadata["labels"]["app.kubernetes.io/version"] == version
    assert document["spec"]["description"].strip()
    for key in ("pipelines.minVersion", "categories", "tags", "displayName", "platforms"):
        assert metadata["annotations"][f"tekton.dev/{key}"]
    for thing in ("params", "results", "workspaces"):
        for entry in document["spec"].get(thing, []):
            assert entry["description"].strip(), f"{thing}: {entry['name']}"
    assert list((path.parent / "samples").glob("*.yaml"))


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_the_readme_of_a_task_has_all_that_the_task_has(path: Path) -> None:
    text, spec = (path.parent / "README.md").read_text(), only(path)["spec"]
    for parameter in spec["params"]:
        default = parameter.get("default")
        shown = {None: "", "": "empty", "[]": "none"}.get(str(default) if default == [] else default, f"`{default}`")
        assert f"| `{parameter['name']}` | {' '.join(parameter['description'].split())} | {shown} |" in text
    for result in spec.get("results", []):
        assert f"| `{result['name']}` | {' '.join(result['description'].split())} |" in text


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_results_are_those_that_the_command_writes(path: Path) -> None:
    spec = only(path)["spec"]
    written = set(report.tekton_results(Result(outcome="held", reason="")))
    takes_results = any(option.name == "results" for option in cli.commands[spec["steps"][0]["name"]].params)
    assert {result["name"] for result in spec.get("results", [])} == (written if takes_results else set())


def test_results_together_are_far_below_what_a_pod_may_give() -> None:
    long = Result(outcome="inconclusive", reason="x" * 5000, url="y" * 5000, digest="sha256:" + "0" * 64, weight=100)
    assert sum(len(name) + len(value) for name, value in report.tekton_results(long).items()) < 1500


def test_the_tasks_agree_in_what_they_have_in_common() -> None:
    seen: dict[str, tuple[str, Obj]] = {}
    for path in TASKS:
        spec = only(path)["spec"]
        (step,) = spec["steps"]
        shared = {f"parameter {p['name']}": {**p, "default": None} for p in spec["params"]}
        shared |= {f"result {r['name']}": r for r in spec.get("results", []) if r["name"] != "outcome"}
        shared |= {f"variable {v['name']}": v for v in step["env"]}
        shared |= {key: value for key, value in step.items() if key not in (*COMMON, "env")}
        shared["volumes"] = spec["volumes"]
        for key, value in shared.items():
            other, known = seen.setdefault(key, (path.stem, value))
            assert value == known, f"{key} of {path.stem} is not that of {other}"


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_every_parameter_is_used_and_known(path: Path) -> None:
    spec = only(path)["spec"]
    used = set(re.findall(r"\$\(params\.([a-z-]+)(?:\[\*\])?\)", yaml.safe_dump(spec["steps"])))
    assert used == {parameter["name"] for parameter in spec["params"]}


def values(spec: Obj) -> dict[str, str]:
    """A value for every parameter of a Task: its default, or one that fits."""
    fitting = {"pull-request": "35", "weight": "5", "comment-id": "17", "repo-owner": "acme", "repo-name": "shop"}
    return {p["name"]: fitting.get(p["name"]) or p.get("default") for p in spec.get("params", [])}


def understood(arguments: list[str]) -> None:
    """Fails unless the command line takes these arguments; nothing is run."""
    command = cli.commands[arguments[0]]
    with click.Context(command, info_name=arguments[0]) as context:
        command.parse_args(context, arguments[1:])


@pytest.mark.parametrize("path", TASKS, ids=name_of)
def test_the_command_line_takes_what_a_task_gives(path: Path) -> None:
    spec = only(path)["spec"]
    (step,) = spec["steps"]
    assert step["command"] == ["pipeline-step"]
    given, arguments = values(spec), []
    for argument in step["args"]:
        if argument != "$(params.args[*])":
            arguments.append(re.sub(r"\$\(params\.([a-z-]+)\)", lambda match: given[match[1]], argument))
    understood(arguments)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_the_command_line_takes_what_other_steps_give(path: Path) -> None:
    for document in documents(path):
        for step in steps_below(document):
            if step.get("command") == ["pipeline-step"] and "$(" not in str(step["args"]):
                understood(step["args"])
            for line in re.sub(r"\\\n\s*", "", step.get("script", "")).splitlines():
                if line.startswith("exec pipeline-step ") and '"$COMMAND"' not in line:
                    words = shlex.split(line)[2:]
                    understood(["--pr=35" if word.startswith("--pr=") else word for word in words])


def declared(kind: str, name: str) -> Obj:
    """The spec of one of our own Tasks, StepActions or Pipelines."""
    spec: Obj = only(TEKTON / kind.lower() / name / "0.1" / f"{name}.yaml")["spec"]
    return spec


def check_call(call: Obj, spec: Obj) -> None:
    """Parameters and workspaces that are given exist, and none that is needed is missing."""
    given = [parameter["name"] for parameter in call.get("params", [])]
    known = {parameter["name"]: parameter for parameter in spec.get("params", [])}
    assert set(given) <= known.keys()
    assert len(given) == len(set(given))
    assert {name for name, parameter in known.items() if "default" not in parameter} <= set(given)
    spaces = {space["name"]: space for space in spec.get("workspaces", [])}
    assert {space["name"] for space in call.get("workspaces", [])} <= spaces.keys()


def calls(node: Any) -> Iterator[tuple[Obj, Obj]]:
    """Everything below a node that refers to one of our own by name, and what it refers to."""
    if isinstance(node, dict):
        for key, kind in (("taskRef", "Task"), ("pipelineRef", "Pipeline"), ("ref", "StepAction")):
            reference = node.get(key)
            if isinstance(reference, dict) and str(reference.get("name")).startswith("pipeline-step"):
                yield node, declared(kind, reference["name"])
        for value in node.values():
            yield from calls(value)
    elif isinstance(node, list):
        for value in node:
            yield from calls(value)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_refers_to_ours_gives_what_ours_takes(path: Path) -> None:
    found = [call for document in documents(path) for call in calls(document)]
    assert found or path not in SAMPLES
    for call, spec in found:
        check_call(call, spec)


@pytest.mark.parametrize("path", [path for path in CATALOG if "pipeline" in path.parts], ids=name_of)
def test_a_pipeline_uses_results_that_exist(path: Path) -> None:
    spec = only(path)["spec"]
    results = {
        task["name"]: (task.get("taskSpec") or declared("Task", task["taskRef"]["name"])).get("results", [])
        for task in [*spec["tasks"], *spec.get("finally", [])]
    }
    for task, result in re.findall(r"\$\(tasks\.([a-z-]+)\.results\.([a-z-]+)\)", path.read_text()):
        assert result in {entry["name"] for entry in results[task]}
    for parameter in spec["params"]:
        assert f"$(params.{parameter['name']})" in yaml.safe_dump(spec["tasks"])


def test_the_revert_of_a_pipeline_waits_for_no_result() -> None:
    (revert,) = declared("Pipeline", "pipeline-step-pull-request")["finally"]
    assert "results" not in yaml.safe_dump(revert)


def test_a_comment_that_is_refused_reverts_nothing() -> None:
    assert "finally" not in declared("Pipeline", "pipeline-step-comment")


@pytest.mark.parametrize("source", ["pipelines-as-code/.tekton/pipeline-step-comment.yaml", "triggers/github.yaml"])
@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.value)
def test_every_command_gets_through(source: str, verb: Verb) -> None:
    pattern = comment_pattern(source)
    example = {Verb.SHIFT: "/shift 5", Verb.FREEZE: "/freeze a holiday"}.get(verb, f"/{verb.value}")
    assert re.search(pattern, example)
    assert isinstance(parse(example)[0], Command)
    assert not re.search(pattern, example.replace(verb.value, verb.value + "x"))
    assert not re.search(pattern, f"see {example}")


def comment_pattern(source: str) -> str:
    """The regular expression that a comment has to match."""
    text = (TEKTON / source).read_text()
    if "triggers" in source:
        return str(re.search(r"matches\('(.*)'\)", text)[1]).replace("\\\\", "\\")  # type: ignore[index]
    return str(yaml.safe_load(text)["metadata"]["annotations"]["pipelinesascode.tekton.dev/on-comment"])


def test_triggers_pass_ids_and_no_text() -> None:
    binding, template, _ = documents(TEKTON / "triggers/github.yaml")
    passed = {parameter["value"] for parameter in binding["spec"]["params"]}
    assert passed == {
        "$(body.comment.id)",
        "$(body.issue.number)",
        "$(body.repository.owner.login)",
        "$(body.repository.name)",
    }
    names = {parameter["name"] for parameter in binding["spec"]["params"]}
    assert names == {parameter["name"] for parameter in template["spec"]["params"]}
    assert set(re.findall(r"\$\(tt\.params\.([a-z-]+)\)", yaml.safe_dump(template))) == names


@pytest.mark.parametrize("path", [path for path in FILES if ".tekton" in path.parts], ids=name_of)
def test_pipelines_as_code_puts_no_text_of_strangers_in(path: Path) -> None:
    used = set(re.findall(r"{{\s*([a-z_.]+)\s*}}", path.read_text()))
    assert used <= {
        "body.comment.id",
        "git_auth_secret",
        "pull_request_number",
        "repo_name",
        "repo_owner",
        "revision",
        "sender",
    }


def presubmits() -> list[Obj]:
    found: list[Obj] = only(TRIGGERS)["spec"]["presubmits"]
    return found


@pytest.mark.parametrize("job", presubmits(), ids=lambda job: job["name"])
def test_a_presubmit_is_one_that_lighthouse_takes(job: Obj) -> None:
    # https://github.com/jenkins-x/lighthouse: both or neither, and the one matches the other
    assert re.search(job["trigger"], job["rerun_command"])
    assert job["optional"] is True
    assert job["always_run"] is False
    assert (TRIGGERS.parent / job["source"]).is_file()
    assert not job["context"].startswith("pipeline-step/"), "that one is the step's own status"


@pytest.mark.parametrize(
    "said",
    ["/jx shift-5", "/jx shift,25", "/lh-jx shift-0", "/jx rollout", "/jx promote", "/jx revert", "/jx status"]
    + [f"/jx {verb.value}" for verb in (Verb.PAUSE, Verb.RESUME, Verb.SKIP, Verb.UNFREEZE, Verb.HELP)],
)
def test_what_starts_a_job_is_a_command_and_starts_one_job_alone(said: str) -> None:
    assert [job["name"] for job in presubmits() if re.search(job["trigger"], said)] != []
    assert len([job["name"] for job in presubmits() if re.search(job["trigger"], said)]) == 1
    (command,) = parse(said)
    assert isinstance(command, Command)
    assert command.verb in USAGE


@pytest.mark.parametrize(
    "said", ["/jx shift", "/jx shift-1000", "/jx shift-25%", "please /jx revert", "/jx promote everything", "/shift 5"]
)
def test_other_words_start_nothing(said: str) -> None:
    assert not [job["name"] for job in presubmits() if re.search(job["trigger"], said)]


@pytest.mark.parametrize("path", [path for path in RUNS if ".lighthouse" in path.parts], ids=name_of)
def test_uses_names_files_and_steps_that_exist(path: Path) -> None:
    for document in documents(path):
        for step in steps_below(document):
            place = re.match(r"uses:lighthouse:tools/pipeline-step/([^@]+)@", step["image"])
            if place:
                steps = [one["name"] for one in steps_below(only(REPOSITORY / place[1]))]
                assert step.get("name", steps[0]) in steps


def snippets(language: str) -> list[str]:
    """The blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (REPOSITORY / "README.md").read_text(), re.M | re.S)


def test_the_readmes_snippet_for_pipelines_as_code_is_the_file_that_ships() -> None:
    (snippet,) = (yaml.safe_load(text) for text in snippets("yaml") if "kind: PipelineRun" in text)
    assert snippet == only(TEKTON / "pipelines-as-code/.tekton/pipeline-step-comment.yaml")


def test_the_readmes_snippet_for_jenkins_x_writes_a_part_of_the_pack(tmp_path: Path) -> None:
    (snippet,) = (text for text in snippets("sh") if ".lighthouse" in text)
    subprocess.run(["sh", "-euc", snippet], cwd=tmp_path, check=True, timeout=20)
    written = tmp_path / ".lighthouse/pipeline-step"
    assert only(written / "comment.yaml") == only(TRIGGERS.parent / "comment.yaml")
    jobs = only(written / "triggers.yaml")["spec"]["presubmits"]
    assert {job["name"] for job in jobs} >= {"pipeline-step-shift", "pipeline-step-revert"}
    for job in jobs:
        assert job in presubmits()
