"""Segments out of probabilities, and words out of hypotheses. No sound, no model."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe.engines.embedded.streaming import Agreement, Edge, Policy, Segmenter, Unit

POLICY = Policy()
SURE, UNSURE = -0.001, -3.0
SLOWEST_S = POLICY.settle_s + POLICY.most_doubt_s


def blocks(seconds: float) -> int:
    return round(seconds / POLICY.block_s)


def edges(probabilities: Sequence[float]) -> list[tuple[int, Edge]]:
    """Where segments open and close, by block."""
    segmenter = Segmenter(POLICY)
    found = [(index, segmenter.push(one)) for index, one in enumerate(probabilities)]
    return [(index, edge) for index, edge in found if edge]


def words(text: str, log_probability: float = SURE) -> list[Unit]:
    """One unit for each word or mark; its tokens are the word's own."""
    return [Unit((*one.encode(),), f" {one}", log_probability) for one in text.split()]


def text(settled: Sequence[Unit]) -> str:
    return "".join(unit.text for unit in settled).strip()


def test_speech_opens_and_silence_closes_a_segment() -> None:
    speech, silence = [0.9] * blocks(1), [0.1] * blocks(1)
    assert edges([*silence, *speech, *silence]) == [
        (blocks(1) + blocks(POLICY.open_s) - 1, Edge.OPENS),
        (blocks(2) + blocks(POLICY.close_s) - 1, Edge.CLOSES),
    ]


def test_a_short_word_is_a_segment_that_waits_for_its_silence_as_any_other() -> None:
    word, silence = [0.9] * blocks(POLICY.open_s), [0.1] * blocks(1)
    found = edges([*word, *silence, *word, *silence])
    assert [edge for _, edge in found] == [Edge.OPENS, Edge.CLOSES] * 2
    (_, _), (_, _), (opens, _), (closes, _) = found
    assert closes - opens == blocks(POLICY.close_s)


def test_a_click_opens_nothing() -> None:
    assert edges([0.1, 0.99, 0.1, 0.99, 0.99, 0.1] * 50) == []


def test_a_pause_within_a_sentence_closes_nothing() -> None:
    speech, pause = [0.9] * blocks(1), [0.1] * (blocks(POLICY.close_s) - 1)
    assert [edge for _, edge in edges([*speech, *pause, *speech])] == [Edge.OPENS]


def test_a_doubtful_block_neither_opens_nor_closes() -> None:
    between = (POLICY.open_probability + POLICY.close_probability) / 2
    assert edges([between] * blocks(5)) == []
    assert len(edges([*[0.9] * blocks(1), *[between] * blocks(5)])) == 1


def test_the_longer_a_segment_the_shorter_the_pause_that_closes_it() -> None:
    def pause_that_closes(length_s: float) -> int:
        speech = [0.9] * blocks(length_s)
        return next(
            pause
            for pause in range(1, 40)
            if any(edge is Edge.CLOSES for _, edge in edges([*speech, *[0.1] * pause]))
        )

    pauses = [pause_that_closes(length_s) for length_s in (2, 7, 9, 11, 13, 15)]
    assert pauses[0] == pauses[1] == blocks(POLICY.close_s)
    assert pauses[1] > pauses[2] > pauses[3] > pauses[4] > pauses[5] == 1


@given(st.lists(st.floats(0, 1, width=32), max_size=1500))
def test_segments_alternate_and_none_is_longer_than_the_limit(probabilities: list[float]) -> None:
    found = edges(probabilities)
    kinds = [edge for _, edge in found]
    assert kinds == [Edge.OPENS, Edge.CLOSES] * (len(kinds) // 2) + [Edge.OPENS] * (len(kinds) % 2)
    for (opens, _), (closes, _) in zip(found[::2], found[1::2], strict=False):
        assert closes - opens <= blocks(POLICY.hard_limit_s)


def test_endless_speech_is_cut_at_the_hard_limit() -> None:
    found = edges([1.0] * blocks(100))
    opens, closes = ([at for at, edge in found if edge is kind] for kind in Edge)
    assert opens[1] - closes[0] == blocks(POLICY.open_s)
    assert closes[0] == pytest.approx(blocks(POLICY.hard_limit_s), abs=1)
    assert len(closes) == 6


def test_a_sure_word_is_emitted_sooner_than_an_unsure_one() -> None:
    def settles_at(log_probability: float) -> float:
        agreement = Agreement(POLICY)
        for step in range(100):
            if agreement.update(words("hello", log_probability), step / 10):
                return step / 10
        raise AssertionError("never")

    assert settles_at(SURE) == pytest.approx(POLICY.settle_s, abs=0.1)
    assert settles_at(UNSURE) == pytest.approx(SLOWEST_S, abs=0.1)
    assert settles_at(SURE) < settles_at(-0.3) < settles_at(UNSURE)


def test_a_word_that_changes_starts_to_wait_again() -> None:
    agreement = Agreement(POLICY)
    assert agreement.update(words("ice cream", UNSURE), 1.0) == []
    assert agreement.update(words("I scream", UNSURE), 1.4) == []
    assert agreement.update(words("I scream", UNSURE), 1.3 + SLOWEST_S) == []
    assert text(agreement.update(words("I scream", UNSURE), 1.4 + SLOWEST_S)) == "I scream"


def test_words_after_a_doubtful_one_wait_for_it() -> None:
    agreement = Agreement(POLICY)
    first = [*words("well", UNSURE), *words("known", SURE)]
    agreement.update(first, 1.0)
    assert agreement.update(first, 1.0 + POLICY.settle_s) == []
    assert text(agreement.update(first, 1.0 + SLOWEST_S)) == "well known"


def test_a_mark_waits_until_a_word_follows_it() -> None:
    agreement = Agreement(POLICY)
    assert agreement.update(words("stop ."), 1.0) == []
    assert text(agreement.update(words("stop ."), 3.0)) == "stop"
    assert agreement.update(words(". now"), 3.1) == []
    assert text(agreement.update(words(". now"), 5.0)) == ". now"


def test_quiet_means_that_no_word_waits_long() -> None:
    agreement = Agreement(POLICY)
    assert agreement.update(words("the end .", UNSURE), 1.0) == []
    settled = agreement.update(words("the end .", UNSURE), 1.0 + POLICY.quiet_s, is_quiet=True)
    assert text(settled) == "the end"
    assert text(agreement.finish(words("."), 1.3)) == "."


def test_what_was_emitted_is_the_prefix_and_the_rest_is_kept() -> None:
    agreement = Agreement(POLICY)
    first = [*words("one", UNSURE), *words("two")]
    agreement.update(first, 1.0)
    agreement.update([*first, *words("three", UNSURE)], 2.0)
    assert agreement.emitted == [token for one in words("one two") for token in one.tokens]
    assert agreement.units == words("three", UNSURE)


def test_a_sure_word_that_another_word_follows_need_not_stand() -> None:
    """The last word may be a half, and a mark after it says nothing."""
    agreement = Agreement(POLICY)
    assert text(agreement.update(words("one two"), 1.0)) == "one"
    assert agreement.update(words("two ."), 1.1) == []
    assert text(agreement.update(words("two . three"), 1.2)) == "two"
    assert agreement.update([*words(". trees", UNSURE), *words("grow")], 1.3) == []


def test_a_word_just_as_likely_as_is_needed_is_sure() -> None:
    after = words("more")
    least = POLICY.sure_log_probability
    assert POLICY.is_sure(words("one", least)[0], after)
    assert not POLICY.is_sure(words("one", least - 1e-6)[0], after)


def shown(hypothesis: Sequence[Unit], *, is_cut: bool) -> str:
    """The words told of a first hypothesis that settles none of them."""
    agreement = Agreement(POLICY)
    assert agreement.update(hypothesis, 1.0) == []
    return text(agreement.tentative(is_cut=is_cut))


def test_a_last_word_that_is_probably_cut_is_not_shown() -> None:
    unlikely = POLICY.shown_log_probability - 0.01
    half = [*words("an", UNSURE), *words("ex", unlikely)]
    assert shown(half, is_cut=False) == "an ex"
    assert shown(half, is_cut=True) == "an"
    assert shown(words("an", POLICY.shown_log_probability), is_cut=True) == "an"
    assert shown(words("ex", unlikely), is_cut=True) == ""


def test_a_mark_at_the_end_is_shown_once_speech_has_stopped() -> None:
    hypothesis = words("fail .", POLICY.shown_log_probability)
    assert shown(hypothesis, is_cut=True) == "fail"
    assert shown(hypothesis, is_cut=False) == "fail ."
    assert shown([], is_cut=True) == ""


HYPOTHESES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "c", ".", ","]), max_size=8),
        st.sampled_from([SURE, UNSURE]),
        st.floats(0.03, 1.0),
        st.booleans(),
    ),
    max_size=30,
)


@given(HYPOTHESES, st.lists(st.sampled_from(["a", "b", "."]), max_size=5))
def test_emitted_text_only_grows_and_ends_as_the_final_text(
    hypotheses: list[tuple[list[str], float, float, bool]], last: list[str]
) -> None:
    """Whatever the model claims, as long as it continues what was emitted."""
    agreement = Agreement(POLICY)
    heard_s = 0.0
    deltas: list[Unit] = []
    for continuation, log_probability, step_s, is_quiet in hypotheses:
        heard_s += step_s
        units = words(" ".join(continuation), log_probability)
        settled = agreement.update(units, heard_s, is_quiet=is_quiet)
        assert settled == units[: len(settled)]
        deltas += settled
        assert agreement.emitted == [token for unit in deltas for token in unit.tokens]
    before = list(deltas)
    deltas += agreement.finish(words(" ".join(last)), heard_s)
    assert deltas[: len(before)] == before
    assert deltas[len(before) :] == words(" ".join(last))
    assert agreement.units == []
