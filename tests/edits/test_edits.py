"""Every kind of edit on files as people write them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pipeline_step.edits import EDITS, discovery
from pipeline_step.edits.interface import Version
from pipeline_step.errors import ConfigError

DIGEST = "sha256:" + "ab" * 32
NEW = Version(
    app="shop",
    namespace="jx-production",
    name="registry.example/acme/shop",
    digest=DIGEST,
    tag="1.4.0",
    version="1.4.0",
    workload="deployment/shop",
)

HELMFILE = """\
filepath: ""
environments:
  default:
    values:
    - jx-values.yaml   # the user's
---
namespace: jx-production
repositories:
- name: dev
  url: oci.example/charts
  oci: true
releases:
# first the database
- chart: dev/database
  version: 9.0.0
  name: database

- chart: dev/shop
  version: 1.3.9     # promoted by a pipeline
  name: shop
  values:
  - jx-values.yaml
- {chart: dev/shop, version: "0.1.0", name: shop, namespace: jx-other}
templates: {}
missingFileHandler: ""
"""
KUSTOMIZATION = """\
resources: [deployment.yaml]
images:
  - name: shop        # as the manifest calls it
    newName: registry.example/acme/shop
    newTag: 1.3.9     # was

  # the other
  - {name: nginx, newTag: "1.27"}
namespace: jx-production
"""
VALUES = "shop:\n  image:\n    repository: registry.example/acme/shop\n    tag: '1.3.9'  # x\n    pullPolicy: Always\n"
RELEASE = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
spec:
  values:
    containers:
    - name: side
      image: side:1
    - name: shop
      image: registry.example/acme/shop:1.3.9
"""
MANIFEST = """\
# the service
apiVersion: v1
kind: Service
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      initContainers:
      - {name: shop, image: init:1}
      containers:
      - name: proxy
        image: proxy:1
      - name: shop
        image: "registry.example/acme/shop:1.3.9"
"""
REQUIREMENTS = """\
dependencies:
- name: database
  version: 2.0.0
- alias: shop
  name: shop-chart
  repository: http://charts.example
  version: 1.3.9
- name: shop
  alias: another
  version: 0.0.1
"""

CASES = [
    ("helmfile", {}, HELMFILE, {"1.3.9  ": "1.4.0  "}),
    ("helmfile", {"namespace": "jx-other"}, HELMFILE, {'"0.1.0"': '"1.4.0"'}),
    ("kustomize", {"path": "k", "image": "shop", "write": "tag"}, KUSTOMIZATION, {"newTag: 1.3.9": "newTag: 1.4.0"}),
    (
        "kustomize",
        {"path": "k"},
        KUSTOMIZATION,
        {"newTag: 1.3.9     # was\n": f"newTag: 1.4.0     # was\n    digest: {DIGEST}\n"},
    ),
    ("kustomize", {"path": "k", "image": "nginx"}, KUSTOMIZATION, {'"1.27"}': f'"1.4.0", digest: {DIGEST}}}'}),
    (
        "kustomize",
        {"path": "k", "image": "new"},
        KUSTOMIZATION.replace("registry.example/acme/shop", "old"),
        {
            'newTag: "1.27"}\n': 'newTag: "1.27"}\n  - name: new\n    newName: registry.example/acme/shop\n'
            f"    digest: {DIGEST}\n"
        },
    ),
    ("values", {"path": "v", "key": "shop.image.tag"}, VALUES, {"'1.3.9'": "'1.4.0'"}),
    ("values", {"path": "v", "key": "shop.image.tag", "write": "digest"}, VALUES, {"'1.3.9'": f"'{DIGEST}'"}),
    (
        "values",
        {"path": "v", "key": "spec.values.containers[name=shop].image"},
        RELEASE,
        {"shop:1.3.9": f"shop@{DIGEST}"},
    ),
    ("manifest", {"path": "m", "container": "shop"}, MANIFEST, {"shop:1.3.9": f"shop@{DIGEST}"}),
    ("chart", {"path": "env/requirements.yaml"}, REQUIREMENTS, {"1.3.9": "1.4.0"}),
    ("chart", {"path": "env/requirements.yaml", "dependency": "another"}, REQUIREMENTS, {"0.0.1": "1.4.0"}),
]


def edited(kind: str, settings: dict[str, Any], text: str, new: Version = NEW) -> str:
    return EDITS[kind].edit(msgspec.convert(settings, EDITS[kind].Settings), new, text)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize(("kind", "settings", "text", "change"), CASES)
def test_only_the_value_changes(
    kind: str, settings: dict[str, Any], text: str, change: dict[str, str], newline: str
) -> None:
    text = text.replace("\n", newline)
    expected = text
    for before, after in change.items():
        before, after = before.replace("\n", newline), after.replace("\n", newline)
        assert expected.count(before) == 1
        expected = expected.replace(before, after)
    assert edited(kind, settings, text) == expected
    assert edited(kind, settings, expected) == expected, "a second time there is nothing to do"


def test_a_kustomization_without_images_gets_them() -> None:
    text = edited("kustomize", {"path": "k"}, "resources: [a.yaml]")
    assert text == f"resources: [a.yaml]\nimages:\n- name: registry.example/acme/shop\n  digest: {DIGEST}\n"
    assert edited("kustomize", {"path": "k"}, text) == text


@pytest.mark.parametrize(
    ("kind", "settings", "text", "words"),
    [
        ("helmfile", {"release": "shoe"}, HELMFILE, "no release 'shoe'; it has: database, shop, shop"),
        ("chart", {"path": "r", "dependency": "x"}, REQUIREMENTS, "it has: database, shop, another"),
        ("manifest", {"path": "m"}, MANIFEST, "one of: proxy, shop"),
        ("manifest", {"path": "m", "workload": "deployment/x"}, MANIFEST, "it has: deployment/shop, service/shop"),
        ("values", {"path": "v", "key": "shop.tag"}, VALUES, "shop has no key 'tag'; it has: image"),
        (
            "kustomize",
            {"path": "k", "write": "tag"},
            f"images: [{{name: {NEW.name}, digest: a}}]",
            "counts more than a tag",
        ),
    ],
)
def test_a_mistake_is_one_sentence(kind: str, settings: dict[str, Any], text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        edited(kind, settings, text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("values", {"path": "v", "key": "a.b"}, "add write: one of image, name, tag"),
        ("values", {"path": "v", "key": "a["}, "no key path"),
        ("kustomize", {"path": "k", "write": "version"}, "digest or tag here"),
    ],
)
def test_settings_that_say_nothing_are_refused(kind: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words.replace("[", r"\[")):
        msgspec.convert(settings, EDITS[kind].Settings)


def test_what_is_not_known_is_not_written() -> None:
    unknown = Version(app="shop", namespace="jx-production", name="r/shop", digest=DIGEST)
    with pytest.raises(ConfigError, match="set VERSION"):
        edited("helmfile", {}, HELMFILE, unknown)
    with pytest.raises(ConfigError, match="has no tag"):
        edited("values", {"path": "v", "key": "shop.image.tag"}, VALUES, unknown)


NESTED = {
    "helmfile.yaml": "helmfiles:\n- path: helmfiles/jx-staging/helmfile.yaml\n"
    "- helmfiles/jx-production/helmfile.yaml\n- git::https://example.com/x.git@helmfile.yaml\n",
    "helmfiles/jx-staging/helmfile.yaml": "namespace: jx-staging\nreleases:\n- {name: other, version: 1.0.0}\n",
    "helmfiles/jx-production/helmfile.yaml": "namespace: jx-production\nreleases:\n- name: shop\n  version: 1.3.9\n",
}


def test_a_nested_helmfile_is_found_from_the_root() -> None:
    settings = msgspec.convert({}, EDITS["helmfile"].Settings)
    assert EDITS["helmfile"].place(settings, NEW, NESTED.get) == "helmfiles/jx-production/helmfile.yaml"
    rest = {path: text for path, text in NESTED.items() if "production" not in path}
    with pytest.raises(ConfigError, match=r"no release 'shop' in helmfile\.yaml, helmfiles/jx-staging"):
        EDITS["helmfile"].place(settings, NEW, rest.get)


@pytest.mark.parametrize(
    ("files", "kind", "path"),
    [
        (
            {".jx/promote.yaml": "spec:\n  helmfileRule:\n    path: other/helmfile.yaml\n"},
            "helmfile",
            "other/helmfile.yaml",
        ),
        (
            {".jx/promote.yaml": "spec:\n  helmRule:\n    path: env\n", "env/requirements.yaml": ""},
            "chart",
            "env/requirements.yaml",
        ),
        ({"env/Chart.yaml": ""}, "chart", "env/Chart.yaml"),
        ({"env/Chart.yaml": "", "env/requirements.yaml": "", "helmfile.yaml": ""}, "chart", "env/requirements.yaml"),
        (
            {"helmfiles/jx-production/helmfile.yaml": "", "helmfile.yaml": ""},
            "helmfile",
            "helmfiles/jx-production/helmfile.yaml",
        ),
        ({"helmfile.yaml": ""}, "helmfile", "helmfile.yaml"),
    ],
)
def test_the_conventions_of_jenkins_x_find_the_file(files: dict[str, str], kind: str, path: str) -> None:
    name, settings = discovery.discover(NEW, files.get)
    assert (name, settings.path) == (kind, path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "name the file with promote.gitops.edits"),
        ({".jx/promote.yaml": "spec:\n  kptRule: {path: x}\n"}, "it has: kptRule"),
        ({".jx/promote.yaml": "- a\n"}, "is no Promote object"),
    ],
)
def test_where_no_convention_fits_the_user_has_to_say_it(files: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        discovery.discover(NEW, files.get)
