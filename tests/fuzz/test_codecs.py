"""No row of messages raises anything but what is answered, and every answer is in the contract."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.talk import talk


@given(st.binary(max_size=600))
@example(b"")
def test_no_row_of_messages_breaks_a_codec_or_its_session(data: bytes) -> None:
    talk(data)
