"""What a client may still have to be sent again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lanscribe.errors import ClientError
from lanscribe.session.outbox import Outbox


class OutboxMachine(RuleBasedStateMachine):
    """The outbox against a list that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(limit=8)
        self.all: list[str] = []
        self.acknowledged = 0

    @rule(count=st.integers(1, 5))
    def say(self, count: int) -> None:
        for _ in range(count):
            self.all.append(f"message {len(self.all) + 1}")
            self.outbox.append(self.all[-1])

    @rule(share=st.floats(0, 1))
    def send(self, share: float) -> None:
        self.outbox.sent += round(share * self.outbox.unsent)

    @rule(ago=st.integers(-2, 12))
    def acknowledge(self, ago: int) -> None:
        number = len(self.all) - ago
        self.outbox.acknowledge(number)
        self.acknowledged = max(self.acknowledged, min(number, self.outbox.sent))

    @rule(ago=st.integers(-2, 12))
    def resume(self, ago: int) -> None:
        seen = max(0, len(self.all) - ago)
        if self.outbox.oldest - 1 <= seen <= len(self.all):
            assert self.outbox.after(seen) == self.all[seen:]
            self.outbox.sent = seen
        else:
            with pytest.raises(ClientError):
                self.outbox.after(seen)

    @invariant()
    def counts(self) -> None:
        assert self.outbox.end == len(self.all)

    @invariant()
    def keeps_what_was_not_sent_and_the_newest_of_what_was(self) -> None:
        sent = self.outbox.sent
        assert self.outbox.after(sent) == self.all[sent:]
        assert self.outbox.oldest - 1 <= max(self.acknowledged, len(self.all) - 8)
        assert self.outbox.has_overflown == (len(self.all) - sent > 8)


TestOutbox = OutboxMachine.TestCase


@given(st.lists(st.integers(1, 4), max_size=20))
def test_an_outbox_gives_each_message_once_over_any_number_of_sockets(reads: list[int]) -> None:
    outbox, seen, got = Outbox(limit=1000), 0, []
    for count in reads:
        for _ in range(count):
            outbox.append(str(outbox.end + 1))
        some = outbox.after(seen)[: count // 2 + 1]
        got += some
        seen = outbox.sent = seen + len(some)
        outbox.acknowledge(seen)
    got += outbox.after(seen)
    assert got == [str(number) for number in range(1, outbox.end + 1)]
