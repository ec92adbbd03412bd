"""What the demo says at its end must depend on what happened."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline_step.errors import Exit
from pipeline_step.run import Event, Result
from pipeline_step.sandbox.load import NOBODY, Answer
from pipeline_step.sandbox.outcome import Chapter, Story, checks
from pipeline_step.sandbox.tally import Part, Tally

DIGEST = f"sha256:{'ab' * 32}"
ANSWERS = {
    Answer("PR 1 at 5 %", "production", 200): 1900,
    Answer("PR 1 at 5 %", "one", 200): 100,
    Answer("PR 2 at 5 %", "production", 200): 1900,
    Answer("PR 2 at 5 %", "two", 200): 70,
    Answer("PR 2 at 5 %", "two", 500): 30,
    Answer("PR 2 reverted", "production", 200): 1000,
}


def story() -> Story:
    good = Chapter(number=1, namespace="one", result=Result(outcome="promoted", reason="", digest=DIGEST))
    bad = Chapter(number=2, namespace="two", result=Result(outcome="reverted", reason="", exit=Exit.REVERTED))
    for chapter in (good, bad):
        assert chapter.phase(Event(kind="shifted", weight=5, reason="")) == f"PR {chapter.number} at 5 %"
    labels = {"production": "production", "one": "PR 1", "two": "PR 2"}
    return Story(chapters=[good, bad], labels=labels, before={}, after={}, production=f"shop@{DIGEST}")


def wrong(told: Story, answers: dict[Answer, int]) -> list[str]:
    return [check.text for check in checks(told, Tally(answers)) if not check.ok]


def test_a_story_that_went_as_told() -> None:
    assert wrong(story(), ANSWERS) == []


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({Answer("PR 2 reverted", "two", 200): 1}, "answered 1 of 1,001"),
        ({Answer("PR 1 at 5 %", "one", 200): 300}, "was given 5 % and got 13.6 %"),
        ({Answer("PR 1 at 5 %", NOBODY, 503): 1}, "31 of 5,001 requests failed, 30 of them"),
        ({Answer("PR 1 at 5 %", NOBODY, 0): 1}, "31 of 5,001 requests failed, 30 of them"),
        ({Answer("PR 2 at 5 %", "two", 500): 0}, "0 of 4,970 requests failed"),
    ],
)
def test_answers_that_contradict_it(more: dict[Answer, int], text: str) -> None:
    found = wrong(story(), {**ANSWERS, **more})
    assert len(found) == 1
    assert text in found[0]


def test_a_bad_preview_that_is_promoted_contradicts_it() -> None:
    told = story()
    told.chapters[1].result = Result(outcome="promoted", reason="", digest=DIGEST)
    assert "PR 2 was promoted: " in wrong(told, ANSWERS)


@pytest.mark.parametrize("change", [{"after": {"spec": {}}}, {"production": "shop:latest"}])
def test_a_cluster_that_says_otherwise_contradicts_it(change: dict[str, object]) -> None:
    assert len(wrong(dataclasses.replace(story(), **change), ANSWERS)) == 1


def test_shares_are_judged_as_chance_allows() -> None:
    def follows(part: int, total: int, weight: int) -> bool:
        return Tally({Answer("p", "a", 200): part, Answer("p", "b", 200): total - part}).follows("p", "a", weight)

    assert follows(100, 10_000, 1)
    assert follows(60, 10_000, 1)
    assert not follows(30, 10_000, 1)
    assert not follows(0, 10_000, 1)
    assert not follows(200, 10_000, 1)
    assert follows(0, 100, 1)


def test_a_tally_by_phase_and_side() -> None:
    tally = Tally({**ANSWERS, Answer("PR 1 at 5 %", NOBODY, 503): 7, Answer("PR 1 at 5 %", "one", 404): 1})
    assert tally.part("PR 1 at 5 %", "one") == Part(requests=101, failed=0)
    assert tally.part(namespace="two") == Part(requests=100, failed=30)
    assert tally.strangers(["production", "one", "two"]) == Part(requests=7, failed=7)
    assert tally.share("no such phase", "one") is None
