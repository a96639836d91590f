"""Stretches of audio that were passed over: none is forgotten, and they stay few."""

import random
from itertools import pairwise

from lanscribe.speech.spans import MAX_SPANS, Span, Spans


def test_whatever_is_added_is_told_in_order_and_in_few_pieces() -> None:
    for seed in range(200):
        random_, spans, added = random.Random(seed), Spans(), []
        for _ in range(random_.choice([0, 1, 5, 50, 3 * MAX_SPANS])):
            start_s = random_.uniform(0, random_.choice([10, 10_000]))
            added.append(Span(start_s, start_s + random_.choice([0.0, 0.001, 0.5, 20.0])))
            spans.add(added[-1])
        told = list(spans)
        assert bool(spans) == any(one.start_s < one.end_s for one in added), f"seed {seed}"
        assert len(told) <= MAX_SPANS, f"seed {seed}"
        assert all(a.end_s < b.start_s for a, b in pairwise(told)), f"seed {seed}"
        for one in added:
            is_told = any(t.start_s <= one.start_s and one.end_s <= t.end_s for t in told)
            assert is_told or one.start_s == one.end_s, f"seed {seed}: {one}"
        if len(added) < MAX_SPANS:  # then nothing is told that was not added, but what is too short
            longest_s = sum(one.end_s - one.start_s for one in added) + 0.05 * len(added)
            assert sum(t.end_s - t.start_s for t in told) <= longest_s, f"seed {seed}"


def test_those_that_touch_are_one() -> None:
    spans = Spans()
    for start_s in [4.0, 1.0, 3.0, 2.0]:
        spans.add(Span(start_s, start_s + 1))
    spans.add(Span(9.0, 9.5))
    assert list(spans) == [Span(1.0, 5.0), Span(9.0, 9.5)]
    assert [span.later(2).rounded for span in spans] == [(3.0, 7.0), (11.0, 11.5)]
