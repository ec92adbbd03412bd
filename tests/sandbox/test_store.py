"""The store: one winner of each version, and watches that miss nothing."""

from __future__ import annotations

import copy
import threading

import pytest

from pipeline_step.sandbox.kinds import CONFIG_MAP
from pipeline_step.sandbox.refusals import ApiError
from pipeline_step.sandbox.store import Event, Store


def config(name: str, **data: str) -> dict[str, object]:
    return {"metadata": {"name": name, "namespace": "a"}, "data": data}


def test_a_hundred_increments_by_eight_threads_lose_none() -> None:
    store = Store()
    store.put(CONFIG_MAP, config("counter", value="0"))
    conflicts = []

    def work() -> None:
        for _ in range(100):
            while True:
                new = copy.deepcopy(store.get(CONFIG_MAP, "a", "counter"))
                new["data"]["value"] = str(int(new["data"]["value"]) + 1)
                try:
                    store.put(CONFIG_MAP, new, expected=new["metadata"]["resourceVersion"])
                    break
                except ApiError as error:
                    assert error.reason == "Conflict"
                    conflicts.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(CONFIG_MAP, "a", "counter")["data"]["value"] == "800"


def test_a_subscriber_from_any_version_sees_every_later_change_once_and_in_order() -> None:
    store = Store()
    writers = [
        threading.Thread(target=lambda n=n: [store.put(CONFIG_MAP, config(f"w{n}-{i}")) for i in range(200)])
        for n in range(4)
    ]
    heard: dict[int, list[Event]] = {}
    for writer in writers:
        writer.start()
    for since in (0, 1, 50, None):
        events: list[Event] = []
        with store.lock:
            first = store.version if since is None else since
            store.subscribe(events.append, since)
        heard[first] = events
    for writer in writers:
        writer.join()
    for first, events in heard.items():
        assert [event.version for event in events] == list(range(max(first, 1) + 1, store.version + 1))


def test_a_stopped_subscriber_hears_nothing_more() -> None:
    store = Store()
    events: list[Event] = []
    stop = store.subscribe(events.append)
    store.put(CONFIG_MAP, config("one"))
    stop()
    store.put(CONFIG_MAP, config("two"))
    assert [event.object["metadata"]["name"] for event in events] == ["one"]


def test_what_is_stored_does_not_change_with_what_was_given() -> None:
    store = Store()
    given = config("one", key="before")
    stored = store.put(CONFIG_MAP, given)
    given["data"] = {"key": "after"}
    assert stored["data"] == {"key": "before"}


def test_a_version_older_than_the_history_is_refused_with_410(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_step.sandbox.store.HISTORY", 10)
    store = Store()
    for number in range(30):
        store.put(CONFIG_MAP, config(f"c{number}"))
    with pytest.raises(ApiError, match="too old resource version: 3") as refused:
        store.subscribe(lambda event: None, since=3)
    assert refused.value.code == 410


def test_an_event_of_a_change_carries_the_state_before() -> None:
    store = Store()
    events: list[Event] = []
    store.subscribe(events.append)
    store.put(CONFIG_MAP, config("one", key="1"))
    store.put(CONFIG_MAP, config("one", key="2"))
    store.remove(CONFIG_MAP, "a", "one")
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[1].before is not None
    assert events[1].before["data"] == {"key": "1"}
    assert int(events[2].object["metadata"]["resourceVersion"]) == store.version
