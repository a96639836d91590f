"""What the conformance suite asks of every protocol; one driver for each, on a plain socket."""

from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

from lanscribe.speech.audio import Samples
from tests.servers import Server


class Speaker(ABC):
    """A connected client of one protocol; every wait has a deadline."""

    @abstractmethod
    async def say(self, samples: Samples) -> None:
        """Send audio, shape (n,), 16 kHz, as this protocol likes it best."""

    @abstractmethod
    async def end(self) -> tuple[list[str], str]:
        """End the utterance: the texts of its deltas, and the final text."""

    @abstractmethod
    async def send_nonsense(self) -> str:
        """Send what is no message of the protocol: the code of the error that answers it.

        The session has to go on after it.
        """


class Driver(ABC):
    """How to speak one protocol."""

    name: str
    has_deltas = True
    """Whether its text comes in parts."""

    @abstractmethod
    def connected(self, server: Server) -> AbstractAsyncContextManager[Speaker]:
        """A client that was greeted and may `say`.

        Raises tests.support.Refused(code, close code) when the server does not take it.
        """
