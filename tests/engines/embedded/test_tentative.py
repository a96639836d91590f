"""Words that may still change, as tokens tell them."""

from hypothesis import given
from hypothesis import strategies as st

from lanscribe.engines.embedded.tentative import Tentative
from lanscribe.speech.transcript import Token

NOW = Token("", 2.0, settled_s=1.0)
ALONE = Token("", 2.0, settled_s=1.0, is_tentative=True)


def words(text: str, tentative: str = "") -> Token:
    return Token(text, 1.5, start_s=1.0, tentative=tentative)


def test_what_has_changed_is_told_once_by_a_token_of_its_own() -> None:
    told = Tentative()
    assert told.tell([], "", NOW) == []
    (first,) = told.tell([], "one", NOW)
    assert (first.tentative, first.is_tentative) == ("one", True)
    assert (first.end_s, first.known_s, first.text) == (2.0, 1.0, "")
    assert told.tell([], "one", NOW) == []
    assert [token.tentative for token in told.tell([], "one two", NOW)] == ["one two"]
    assert told.tell([], "", NOW) == [ALONE]


def test_each_token_tells_the_words_after_it_anew() -> None:
    told = Tentative()
    tokens = [words("one"), words(" two"), NOW]
    assert told.tell(tokens, " three", NOW) == [
        words("one", " two three"),
        words(" two", " three"),
        Token("", 2.0, settled_s=1.0, tentative=" three"),
    ]
    assert told.tell([], " three", NOW) == []
    (again,) = told.tell([NOW], " three", NOW)
    assert (again.tentative, again.is_tentative) == (" three", False)


BATCHES = st.lists(
    st.tuples(
        st.lists(st.sampled_from([" a", " b", ",", ""]), max_size=4),
        st.sampled_from(["", " c", " c d"]),
    ),
    max_size=20,
)


@given(BATCHES)
def test_what_is_shown_changes_only_from_one_time_to_the_next(
    batches: list[tuple[list[str], str]],
) -> None:
    """The text and the words after it: all tokens that come at once show the same."""
    told, settled, shown = Tentative(), "", ""
    for texts, tentative in batches:
        tokens = told.tell([words(text) for text in texts], tentative, NOW)
        assert [token.text for token in tokens if not token.is_tentative] == texts
        before = settled
        for token in tokens:
            settled += token.text
            shown = settled + token.tentative
            assert shown == before + "".join(texts) + tentative
        assert shown == settled + tentative
