"""How a host that is lost is found out and named, in parts; tests of hosts kill real ones."""

import json
import time
from pathlib import Path

import jax
import pytest

from efm_jax.training import _watch


@pytest.mark.parametrize(
    ("sign", "after", "said"),
    [
        (None, 10.0, None),  # not heard of yet
        (None, 60.0, "process 1 is gone"),
        ({"beat": 3}, 10.0, None),
        ({"beat": 3}, 60.0, "me is gone: it gives no sign of life. The checkpoint of step 7 is kept in RUN"),
        ({"beat": -1}, 60.0, None),  # it has come to its end
        (
            {"beat": -1, "error": "ValueError: no\ndata"},
            1.0,
            "me failed: ValueError: no data The checkpoint of step 7",
        ),
        ({"beat": -1, "error": "ValueError", "session": 1}, 1.0, None),  # of a run before this one
    ],
)
def test_a_lost_host_is_named(monkeypatch, sign, after, said):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    watch = _watch._Watch(None, Path("RUN"), 2)
    now = time.monotonic()
    known = {"session": 2, "error": None, "who": "me"}
    text = "" if sign is None else json.dumps(known | sign)
    kept = {"kept": "The checkpoint of step 7 is kept in RUN"}
    watch._told = {0: (json.dumps(known | kept | {"beat": 3}), now), 1: (text, now)}
    lost = watch._lost(now + after)
    assert lost is None if said is None else lost.startswith(said)


@pytest.mark.parametrize(
    ("me", "silent", "named"),
    [
        (0, {1: 20.0}, 1),  # never itself, though it holds the coordinator
        (0, {1: 2.0, 2: 20.0}, 2),
        (1, {0: 1.0, 2: 20.0}, 2),  # the coordinator is there and has missed another
        (1, {0: 20.0, 2: 21.0}, 0),  # the coordinator is lost: nobody is heard
        (1, {0: 1.0}, 0),
    ],
)
def test_when_jax_gives_up_the_silent_one_is_named(monkeypatch, me, silent, named):
    monkeypatch.setattr(jax, "process_count", lambda: len(silent) + 1)
    monkeypatch.setattr(jax, "process_index", lambda: me)
    watch = _watch._Watch(None, Path("RUN"), 2)
    now = time.monotonic()
    for index in (me, *silent):
        sign = {"session": 2, "error": None, "who": f"number {index}", "beat": 3, "kept": "All is kept"}
        watch._told[index] = json.dumps(sign), now - silent.get(index, 0.0)
    assert watch._aborted() == (
        f"number {named} is gone: it gives no sign of life. All is kept; start all processes again."
    )
