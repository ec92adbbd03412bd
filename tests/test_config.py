"""Configuration: what is read, what is laid over it, and what each kind of mistake is answered with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_step.config import Flags, load, named_file
from pipeline_step.config_file import File, parse, schema
from pipeline_step.errors import ConfigError, Exit
from pipeline_step.model import OnInconclusive, OnMissing, Outcome, Ramp, Seconds
from pipeline_step.settings import seconds

EXAMPLE = Path(__file__).parent.parent / "examples" / "croc-hunter" / ".pipeline-step.yaml"
MINIMAL: dict[str, Any] = {
    "app": "shop",
    "production": {"namespace": "prod", "service": "shop"},
    "traffic": {"istio": {"virtual_service": "shop"}},
}
ENVIRON = {"REPO_OWNER": "acme", "REPO_NAME": "shop", "PULL_NUMBER": "35", "PULL_PULL_SHA": "abc1234"}


def changed(path: str, value: Any) -> str:
    """The minimal file with one key set, as YAML."""
    data = yaml.safe_load(yaml.safe_dump(MINIMAL))
    at = data
    *parents, last = path.split(".")
    for part in parents:
        at = at.setdefault(part, {})
    at[last] = value
    return yaml.safe_dump(data)


def test_an_empty_name_is_no_file() -> None:
    """As a pipeline gives it whose parameter is empty: then the base branch's is meant, and no checkout's."""
    assert named_file(Flags(file=Path()), {}) is None
    assert named_file(Flags(file=Path("step.yaml")), {}) == Path("step.yaml")
    assert named_file(Flags(), {"PIPELINE_STEP_CONFIG": "x.yaml"}) == Path("x.yaml")


def test_the_example_is_read() -> None:
    config = load(Flags(file=EXAMPLE), ENVIRON)
    assert config.target.stable.host == "croc-hunter-jenkinsx.jx-production.svc.cluster.local"
    assert config.preview.host == "croc-hunter-jenkinsx.jx-acme-shop-pr-35.svc.cluster.local"
    assert config.workload.name == "jx-production-croc-hunter-jenkinsx"
    assert [step.weight for step in config.policy.steps] == [1, 5, 25]
    assert list(config.gates) == ["scrape"]
    assert config.contexts == ("",)


def test_flags_go_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "step.yaml").write_text(changed("strategy.steps", [1, {"weight": 2, "bake": "1h30m"}]))
    environ = {**ENVIRON, "PIPELINE_STEP_CONFIG": str(tmp_path / "step.yaml")}
    config = load(Flags(), environ)
    assert [(s.weight, s.bake) for s in config.policy.steps] == [(1, 60), (2, 5400)]
    flags = Flags(number=36, repository="other/group/shop", sha="fff", steps="3,9", bake="2s", deadline="7m", by="ada")
    config = load(flags, environ)
    assert [(s.weight, s.bake) for s in config.policy.steps] == [(3, 2), (9, 2)]
    assert config.policy.deadline == 420
    assert (config.pull.number, config.pull.owner, config.pull.repo) == (36, "other/group", "shop")
    assert (config.pull.sha, config.pull.by) == ("fff", "ada")


def test_a_preview_beside_production_gets_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(changed("preview", {"namespace": "prod", "clone": True}))
    assert str(load(Flags(file=tmp_path / "c.yaml"), ENVIRON).preview) == "shop-pr-35.prod"


def test_policies_for_missing_verdicts() -> None:
    file = parse(changed("strategy.on_no_data", "revert"), "f")
    assert file.strategy.on_no_data is OnMissing.REVERT
    assert set(load(Flags(file=EXAMPLE), ENVIRON).policy.missing) == {
        Outcome.NO_DATA,
        Outcome.TOO_LITTLE,
        Outcome.UNREACHABLE,
    }


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (
            "produktion",
            {},
            "f: produktion: unknown key; did you mean production\\? Valid here: app, production, traffic",
        ),
        (
            "production.servise",
            "x",
            "f: production.servise: unknown key; did you mean service\\? Valid here: namespace",
        ),
        ("production.service", "Shop", "f: production.service: expected a DNS label: .*; given: 'Shop'"),
        ("production.service", "a" * 64, "f: production.service: expected a DNS label"),
        ("production.workload", "pod/x", "f: production.workload: expected KIND/NAME.*statefulset.*; given: 'pod/x'"),
        ("production.port", 0, "f: production.port: expected `int` >= 1.*; given: 0"),
        ("app", 5, "f: app: expected `str`, got `int`; given: 5"),
        ("traffic", {}, "f: traffic: exactly one of these keys is needed here: .*istio.*; given: none"),
        ("traffic", {"istioo": {}}, "f: traffic.istioo: unknown key; did you mean istio"),
        ("traffic.istio", {}, "f: traffic.istio.virtual_service: this key is needed"),
        ("strategy.steps", [1, 101], r"f: strategy.steps\[1\]: expected `int` <= 100; given: 101"),
        ("strategy.steps", [-1], r"f: strategy.steps\[0\]: expected `int` >= 0; given: -1"),
        ("strategy.steps", [5, 5], r"f: strategy: steps must rise; these are \[5, 5\]"),
        ("strategy.steps", [9, 3], r"steps must rise; these are \[9, 3\]"),
        ("strategy.steps", [0], r"steps needs a weight above 0"),
        ("strategy.steps", [], r"steps needs at least one weight"),
        (
            "strategy.steps",
            [{"weight": 5, "bakes": "1m"}],
            r"strategy.steps\[0\].bakes: unknown key; did you mean bake\?",
        ),
        (
            "strategy.bake",
            "5 minutes",
            "f: strategy.bake: expected a duration such as 30s, 5m or 1h30m; given: '5 minutes'",
        ),
        ("strategy.on_no_data", "ignore", "f: strategy.on_no_data: .*valid: hold, revert, pass; given: 'ignore'"),
        ("gates", [{"prometeus": {}}], r"f: gates\[0\].prometeus: unknown key; did you mean prometheus"),
        ("preview.namespace", "{pr}", r"f: preview: unknown placeholder {pr}; valid: app, owner, repo, number"),
        ("preview", {"clone": True, "manifests": "x"}, "one of manifests and clone can be given, not both"),
    ],
)
def test_a_mistake_names_path_value_and_what_is_valid(path: str, value: Any, error: str) -> None:
    with pytest.raises(ConfigError, match=error) as caught:
        parse(changed(path, value), "f")
    assert caught.value.exit is Exit.USAGE
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "f:1:5: this is not YAML"),
        ("- a", "f: expected a mapping with the keys app, production, traffic"),
        ("", "f: expected a mapping"),
        ("app: x", "f: production: this key is needed"),
    ],
)
def test_what_is_no_configuration_at_all(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        parse(text, "f")


@pytest.mark.parametrize(
    ("flags", "environ", "error"),
    [
        (Flags(file=Path("/nowhere/x.yaml")), {}, "/nowhere/x.yaml: no such file"),
        (Flags(file=Path("/")), {}, "/: can't be read"),
        (Flags(file=EXAMPLE, steps="1,x"), {}, "--steps '1,x': expected whole numbers"),
        (Flags(file=EXAMPLE, repository="shop"), {}, "--repo 'shop': expected OWNER/NAME"),
        (Flags(file=EXAMPLE), {"PULL_NUMBER": "x"}, "PULL_NUMBER='x': expected the number"),
        (Flags(file=EXAMPLE, bake="soon"), {}, "strategy.bake: expected a duration"),
    ],
)
def test_mistakes_on_the_command_line(flags: Flags, environ: dict[str, str], error: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(error)):
        load(flags, environ)


def test_what_only_some_commands_need_is_asked_for_by_them() -> None:
    config = load(Flags(file=EXAMPLE), {})
    with pytest.raises(ConfigError, match="which pull request"):
        _ = config.preview
    config = load(Flags(file=EXAMPLE, number=3), {})
    with pytest.raises(ConfigError, match="which repository"):
        _ = config.preview


def test_the_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    assert load(Flags(file=EXAMPLE), {**ENVIRON, "GIT_TOKEN": "t0"}).provider.token == "t0"
    (tmp_path / "token").write_text("t1\n")
    assert load(Flags(file=EXAMPLE), {"GIT_TOKEN_FILE": str(tmp_path / "token")}).provider.token == "t1"
    with pytest.raises(ConfigError, match="no such file"):
        load(Flags(file=EXAMPLE), {"GIT_TOKEN_FILE": str(tmp_path / "gone")})


def test_the_schema_knows_every_key() -> None:
    document = schema()
    definitions = document["$defs"]
    assert set(definitions["File"]["properties"]) == set(File.__struct_fields__)
    assert definitions["File"]["additionalProperties"] is False
    assert "istio" in definitions["Traffic"]["properties"]


def test_every_key_says_what_it_means() -> None:
    silent = [
        f"{name}.{key}"
        for name, definition in schema()["$defs"].items()
        for key, value in definition.get("properties", {}).items()
        if not value.get("description")
    ]
    assert silent == [], 'write `key: Annotated[TYPE, says("...")]` (settings.says): editors and the reference show it'


@pytest.mark.parametrize(
    ("text", "length"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("0.5s", 0.5), ("1h1m1s", 3661)]
)
def test_durations(text: str, length: float) -> None:
    assert seconds(text) == length


def with_gates(strategy: dict[str, Any], *gates: dict[str, Any]) -> str:
    return yaml.safe_dump({**MINIMAL, "strategy": strategy, "gates": list(gates)})


def test_steps_by_harm_budget(tmp_path: Path) -> None:
    strategy = {"steps": "auto", "harm_budget": 30, "max_weight": 40, "soak": "2m", "on_inconclusive": "hold"}
    (tmp_path / "c.yaml").write_text(with_gates(strategy, {"compare": {}}))
    policy = load(Flags(file=tmp_path / "c.yaml"), ENVIRON).policy
    assert policy.steps == ()
    assert policy.ramp == Ramp(harm_budget=30, max_weight=40, poll=Seconds(5))
    assert (policy.soak, policy.on_inconclusive) == (120, OnInconclusive.HOLD)
    listed = load(Flags(file=tmp_path / "c.yaml", steps="5,25"), ENVIRON).policy
    assert (listed.weights, listed.ramp) == ((5, 25), None)
    assert load(Flags(file=tmp_path / "c.yaml", steps="auto"), ENVIRON).policy == policy


SLO = {"compare": {"errors": {"slo": "99%"}}}


@pytest.mark.parametrize(
    ("strategy", "gates", "error"),
    [
        ({"steps": "auto"}, [], "strategy.steps: auto takes the weights from exactly one compare gate; `gates` has 0"),
        ({"steps": "auto"}, [{"compare": {}}] * 2, "exactly one compare gate; `gates` has 2"),
        ({"steps": "atuo"}, [SLO], "strategy.steps: .*; given: 'atuo'"),
        ({"steps": "auto", "harm_budget": 0}, [SLO], "strategy.harm_budget: expected `float` > 0"),
        ({"steps": "auto", "max_weight": 0}, [SLO], "strategy: max_weight is above 0"),
        ({"steps": "auto", "max_weight": 101}, [SLO], "strategy.max_weight: expected `int` <= 100"),
        ({"on_inconclusive": "promote"}, [SLO], "on_inconclusive: .*valid: revert, hold, promote-if-slo"),
        ({"on_inconclusive": "promote-if-slo"}, [{"compare": {}}], "promote-if-slo needs an `slo` in a compare gate's"),
    ],
)
def test_a_judge_s_strategy_that_can_t_be(strategy: dict[str, Any], gates: list[dict[str, Any]], error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        parse(with_gates(strategy, *gates), "f")
    assert parse(with_gates({"on_inconclusive": "promote-if-slo"}, SLO), "f")
