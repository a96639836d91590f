"""A small server that speaks vLLM's realtime protocol and hears numbers, or breaks on purpose.

It steps as vLLM does with Voxtral: the first delta after (1 + delay) steps of 80 ms and 2.5 ms of
the next, one for each step from there on, and silence of (delay + 1) + 10 steps after the end.
What it hears is what the fake engine would: see lanscribe/engines/fake.py.
tests/vllm/standin_program.py stands in for vLLM as a process, which is started and ends.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from lanscribe.speech.pcm import decoded

MODEL = "standin"
KEY = "internal"
DELAY_STEPS = 6
STEP_SAMPLES = 1280
LOOK_AHEAD_SAMPLES = 40
PADDING_STEPS = DELAY_STEPS + 1 + 10
Fault = Literal["none", "cut", "error", "dead", "done", "mute", "never greets", "nonsense", "deep"]
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."  # vllm 0.33


@dataclass
class Standin:
    """The server; what it does wrong may be changed between sessions."""

    port: int = 0
    fault: Fault = "none"
    """What happens instead of the delta number `fault_at`."""
    fault_at: int = 5
    unknown: tuple[str, ...] = ()
    """Types of events that it sends beside each delta, as a later vLLM may."""
    open_connections: int = 0
    closed: threading.Event = field(default_factory=threading.Event)
    """Set when a connection has ended."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def handle(self, connection: ServerConnection) -> None:
        self.open_connections += 1
        try:
            if self.fault == "never greets":
                connection.recv()
            _Conversation(self, connection).run()
        except ConnectionClosed:
            pass
        finally:
            self.open_connections -= 1
            self.closed.set()


class _Conversation:
    def __init__(self, standin: Standin, connection: ServerConnection) -> None:
        self._standin = standin
        self._connection = connection
        self._audio = np.empty(0, dtype=np.float32)
        self._deltas = 0
        self._said: list[str] = []

    def run(self) -> None:
        self._send(type="session.created", id="sess-1", created=0)
        for message in self._connection:
            event = json.loads(message)
            match event["type"]:
                case "session.update" if event["model"] != MODEL:
                    self._send(type="error", error="no such model", code="model_not_found")
                case "input_audio_buffer.append":
                    self._hear(decoded(base64.b64decode(event["audio"]), "pcm_s16le"))
                case "input_audio_buffer.commit" if event["final"]:
                    self._hear(np.zeros(PADDING_STEPS * STEP_SAMPLES, dtype=np.float32))
                    self._done()

    def _hear(self, samples: np.ndarray) -> None:
        self._audio = np.concatenate([self._audio, samples])
        while (self._deltas + 1 + DELAY_STEPS) * STEP_SAMPLES + LOOK_AHEAD_SAMPLES <= len(
            self._audio
        ):
            if self._standin.fault != "none" and self._deltas == self._standin.fault_at:
                self._break()
            self._say(round(float(self._audio[self._deltas * STEP_SAMPLES] * 32768)))
            self._deltas += 1

    def _say(self, number: int) -> None:
        self._said.append(f" {number}" if number else "")
        for kind in self._standin.unknown:
            self._send(type=kind)
        self._send(type="transcription.delta", delta=self._said[-1])

    def _break(self) -> None:
        match self._standin.fault:
            case "cut":
                self._connection.socket.close()
            case "error":
                self._send(type="error", error="CUDA went away", code="processing_error")
            case "dead":
                self._send(type="error", error=DEAD, code="processing_error")
            case "done":
                self._done()
            case "deep":
                self._connection.send('{"type":' + 99_999 * "[")
            case "nonsense":
                self._connection.send("{}")
        for _ in self._connection:  # and says no more
            pass

    def _done(self) -> None:
        usage = {"prompt_tokens": 39, "completion_tokens": self._deltas, "total_tokens": 0}
        self._send(type="transcription.done", text="".join(self._said), usage=usage)

    def _send(self, **event: object) -> None:
        self._connection.send(json.dumps(event))


def _check_key(connection: ServerConnection, request: Request) -> Response | None:
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return Response(401, "Unauthorized", Headers(), b"{}")
    return None


@contextmanager
def standin() -> Iterator[Standin]:
    """A running stand-in."""
    one = Standin()
    with serve(
        one.handle,
        "127.0.0.1",
        0,
        process_request=_check_key,
        compression=None,
        max_size=None,
    ) as server:
        one.port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield one
        server.shutdown()
        thread.join()
