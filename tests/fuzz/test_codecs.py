"""No row of messages breaks a conversation, and every answer is in the contract."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.talk import talk


@settings(max_examples=500)
@given(st.binary(max_size=600))
@example(b"")
def test_no_row_of_messages_breaks_a_codec_or_its_conversation(data: bytes) -> None:
    talk(data)
