"""Which model names mean the served model: its own, an empty one, and those built into clients.

A server serves one model. A client whose program came with a vendor's name has not chosen another
model, so it is served, and the answers name the model that it gets.
"""

import re

from lanscribe.errors import ProtocolError

_BUILT_IN = re.compile(
    r"""
    whisper-1
    | gpt-(?:live-|4o-(?:mini-)?)?transcribe(?:-[\w.-]+)?
    | gpt-(?:4o-(?:mini-)?)?realtime(?:-[\w.-]+)?
    | voxtral-[\w.-]+
    """,
    re.VERBOSE | re.ASCII,
)
"""The models for transcription and realtime in openai 3.57, with and without a date; and Voxtral's
on Mistral's servers, on the hub and in the copies that voxmlx loads."""
_SHOWN_LETTERS = 200


def bare(name: str) -> str:
    """The name in lower case, without its owner, such as mistralai/, and without spaces around."""
    return name.strip().lower().rpartition("/")[2]


def is_served(name: str, served: str) -> bool:
    """Whether a client that names `name` wants the model `served`."""
    wanted = name.strip().lower()
    return wanted in ("", served.lower()) or _BUILT_IN.fullmatch(bare(name)) is not None


def refusal(
    name: str, served: str, advice: str, *, close_code: int | None = None
) -> ProtocolError | None:
    """The error for a name that does not mean the model served; "" while no engine is loaded.

    advice: what to send instead, in the words of the protocol.
    """
    if not served or is_served(name, served):
        return None
    return ProtocolError(
        "model_not_found",
        f"got the model {name[:_SHOWN_LETTERS]!r}; this server has: {served}. {advice}",
        close_code=close_code,
    )


def check(name: str, served: str, advice: str) -> None:
    """Raise the refusal of a name, if there is one."""
    if error := refusal(name, served, advice):
        raise error
