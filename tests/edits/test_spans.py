"""Replacing one value of a YAML file: every other byte stays, whatever the file looks like."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.edits.spans import documents, find, key_path, put
from pipeline_step.errors import ConfigError

DIGEST = "sha256:" + "ab" * 32
KEYS = st.text("abcdefgh-_", min_size=1, max_size=6).filter(lambda key: key.strip("-"))
LEAVES = st.one_of(
    st.integers(-5, 100),
    st.booleans(),
    st.floats(0, 9, allow_nan=False),
    st.text("abc 1.:#'\"{}[],&*!|>%@`é\n", max_size=12).filter(lambda text: "{{" not in text),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4), st.dictionaries(KEYS, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)
VALUES = st.sampled_from(
    ["1.2.3", "1.10", "true", "0x1F", "null", DIGEST, f"registry:5000/shop@{DIGEST}", "v1 # no", "a: b"]
)


def paths(tree: Any, above: str = "") -> list[tuple[str, Any]]:
    """Every leaf by its key path."""
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in paths(value, f"{above}.{key}".lstrip("."))]
    if isinstance(tree, list):
        return [leaf for number, value in enumerate(tree) for leaf in paths(value, f"{above}[{number}]")]
    return [(above, tree)]


def first(leaf: tuple[str, Any]) -> str:
    return leaf[0]


def common(one: str, other: str) -> int:
    """How many characters they begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def spliced(before: str, after: str) -> tuple[str, str]:
    """What differs, once the common beginning and end are taken off."""
    start = common(before, after)
    end = common(before[start:][::-1], after[start:][::-1])
    return before[start : len(before) - end], after[start : len(after) - end]


@settings(max_examples=100, deadline=None)
@given(
    tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=5),
    flow=st.sampled_from([None, True, False]),
    quotes=st.sampled_from([None, "'", '"']),
    newline=st.sampled_from(["\n", "\r\n"]),
    comments=st.integers(0, 3),
    value=VALUES,
    data=st.data(),
)
def test_one_value_changes_and_every_other_byte_stays(
    tree: dict[str, Any],
    flow: bool | None,
    quotes: str | None,
    newline: str,
    comments: int,
    value: str,
    data: st.DataObject,
) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, default_style=quotes, allow_unicode=True)
    text = "# the head: é\n" * comments + "---\n" + text + "# the end\n" * comments + "...\n" * (comments % 2)
    text = text.replace("\n", newline)
    assert yaml.safe_load(text) == tree
    path, _ = data.draw(st.sampled_from(paths(tree)))

    node = find(documents(text)[0], key_path(path))
    span = text[node.start_mark.index : node.end_mark.index]
    if node.value != value and (span.startswith("!") or node.style in ("|", ">")):
        with pytest.raises(ConfigError, match="has a tag" if span.startswith("!") else "text block"):
            put(text, node, value)
        return
    after = put(text, node, value)

    expected = [(name, value if name == path else leaf) for name, leaf in paths(tree)]
    assert sorted(paths(yaml.safe_load(after)), key=first) == sorted(expected, key=first) or (
        after == text and node.value == value
    )
    gone, come = spliced(text, after)
    assert gone in span
    assert len(come) <= len(value) + 2


def test_the_style_of_the_quotes_stays() -> None:
    text = "a: 1.0  # plain\nb: '1.0'\nc: \"1.0\"\nd: [x, 1.0]\n"
    for key, line in (("a", "a: 1.2.3  # plain"), ("b", "b: '1.2.3'"), ("c", 'c: "1.2.3"'), ("d[1]", "d: [x, 1.2.3]")):
        assert line in put(text, find(documents(text)[0], key_path(key)), "1.2.3")


def test_what_would_not_be_text_without_quotes_gets_them() -> None:
    text = "tag: v1\n"
    node = find(documents(text)[0], key_path("tag"))
    assert put(text, node, "1.10") == 'tag: "1.10"\n'
    assert put(text, node, "1.2.3") == "tag: 1.2.3\n"


def test_an_anchor_stays_and_one_that_is_shared_is_refused() -> None:
    text = "a: &version 1.0.0\nb: other\n"
    assert put(text, find(documents(text)[0], key_path("a")), "2.0.0") == "a: &version 2.0.0\nb: other\n"
    text = "a: &version 1.0.0\nb: *version\n"
    with pytest.raises(ConfigError, match="shared by an anchor"):
        put(text, find(documents(text)[0], key_path("b")), "2.0.0")


def test_templates_are_passed_over_and_never_overwritten() -> None:
    text = "a: {{ .Values.a | quote }}\n{{- if .Values.on }}\n  # x\nb: 1.0.0\n{{- end }}\n{{/* two\nlines */}}\nc: d\n"
    found = documents(text)[0]
    assert put(text, find(found, key_path("b")), "2.0.0") == text.replace("1.0.0", "2.0.0")
    with pytest.raises(ConfigError, match="filled in from elsewhere"):
        put(text, find(found, key_path("a")), "2.0.0")


def test_key_paths() -> None:
    text = "a:\n  b.c:\n  - name: x\n    v: 1\n  - name: y.z\n    v: 2\n"
    document = documents(text)[0]
    assert find(document, key_path(r"a.b\.c[0].v")).value == "1"
    assert find(document, key_path(r"a.b\.c[name=y.z].v")).value == "2"
    for wrong in ("", "a..b", "a[", "a[x]", ".a."):
        with pytest.raises(ValueError, match="is no key path"):
            key_path(wrong)


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ("a:\n  b: 1\n", "a.c", "a has no key 'c'; it has: b"),
        ("a: [1]\n", "a[3]", "1 items, of which 0"),
        ("a: [1]\n", "a", "not a list or a mapping"),
        ("a: |\n  text\n", "a", "a text block"),
        ("a: [\n", "a", "line 2, column 1: this is not YAML"),
    ],
)
def test_what_can_not_be_replaced_is_one_sentence(text: str, path: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        put(text, find(documents(text)[0], key_path(path)), "x")
    assert words in str(caught.value)


def test_a_file_of_aliases_that_grow_without_end_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    text = "\n".join([*lines, "v: 1", ""])
    with pytest.raises(ConfigError, match="lead in circles"):
        put(text, find(documents(text)[0], key_path("v")), "2")


def test_an_anchor_may_be_used_again_for_something_else() -> None:
    text = "a: &x {b: 1}\nc: &x {b: 2}\nd: *x\nv: 1.0.0\n"
    assert put(text, find(documents(text)[0], key_path("v")), "2.0.0") == text.replace("1.0.0", "2.0.0")
