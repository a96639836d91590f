"""What waits for the caller of an endless session."""

from lanscribe.endless.waiting import MAX_WAITING_TOKENS, WaitingTokens
from lanscribe.speech.transcript import Token


def test_tokens_are_taken_in_order_and_there_is_room_for_so_many() -> None:
    waiting = WaitingTokens()
    for number in range(MAX_WAITING_TOKENS):
        assert waiting.has_room
        waiting.append(Token(f" {number}", 1.0))
    assert not waiting.has_room
    assert [waiting.take().text for _ in range(3)] == [" 0", " 1", " 2"]
    assert waiting.has_room
    waiting.clear()
    assert len(waiting) == 0


def test_what_waits_for_a_slow_caller_has_no_guess_that_is_out_of_date() -> None:
    waiting = WaitingTokens()
    for number in range(10 * MAX_WAITING_TOKENS):
        waiting.append(Token("", 0.0, tentative=f" {number}", is_tentative=True))
    assert (len(waiting), waiting.tentative) == (1, f" {number}")
    waiting.append(Token(" one", 0.5))
    assert [waiting.take().text, len(waiting)] == [" one", 0]
