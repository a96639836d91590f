"""The parts of stream_microphone.py, without a sound card."""

import asyncio
import io
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

import stream_microphone as client
from lanscribe.engines.fake import spoken
from tests.clients.numbers import Break, NumberServer, han, send
from tests.clients.pieces import text_of
from tests.support import DEADLINE_S

DEVICES = [
    {"index": 0, "name": "HDMI", "max_input_channels": 0},
    {"index": 1, "name": "USB Microphone", "max_input_channels": 1},
    {"index": 2, "name": "Built-in Microphone", "max_input_channels": 2},
    {"index": 3, "name": "Built-in", "max_input_channels": 2},
]


# The ring.


@given(
    limit=st.integers(1, 50),
    sizes=st.lists(st.integers(0, 40), max_size=20),
    at=st.integers(0, 400),
    most=st.integers(0, 60),
)
def test_a_ring_keeps_the_last_samples_under_their_index(
    limit: int, sizes: list[int], at: int, most: int
) -> None:
    ring, count = client.Ring(limit), 0
    for size in sizes:
        ring.append(np.arange(count, count + size, dtype=np.float32) / np.float32(32_768))
        count += size
    assert (ring.start, ring.end) == (max(0, count - limit), count)
    if ring.start <= at <= ring.end:
        kept = np.frombuffer(ring.read(at, most), dtype="<i2")
        assert kept.tolist() == list(range(at, min(at + most, count)))


def test_a_ring_clips() -> None:
    ring = client.Ring(9)
    ring.append(np.array([-2, -1, 0, 1, 2], dtype=np.float32))
    assert np.frombuffer(ring.read(0, 9), "<i2").tolist() == [-32768, -32768, 0, 32767, 32767]


# The meter.


def tone(level: float, seconds: float = 1) -> Any:
    return np.full(round(16_000 * seconds), level, dtype=np.float32)


def test_a_meter_measures_dbfs() -> None:
    meter = client.Meter()
    meter.feed(tone(0.1))
    assert meter.level_dbfs == pytest.approx(-20)
    meter.feed(tone(0))
    assert meter.level_dbfs == -np.inf


def test_a_muted_microphone_is_told_once_an_episode() -> None:
    meter = client.Meter()
    remarks = [meter.feed(tone(level)) for level in [0] * 40 + [0.1] + [0] * 6]
    told = [second for second, remark in enumerate(remarks) if remark]
    assert told == [4, 45]
    assert all(remarks[second] == client.MUTED for second in told)


def test_a_microphone_that_hears_nothing_is_told_once_an_episode() -> None:
    meter = client.Meter()
    remarks = [meter.feed(tone(level)) for level in [1e-4] * 60 + [0.1] + [1e-4] * 21]
    told = [second for second, remark in enumerate(remarks) if remark]
    assert told == [19, 80]
    assert all("hardly any sound" in remarks[second] for second in told)


# The stitch.


@pytest.mark.parametrize(
    ("said", "held", "joined"),
    [
        ("one two", "two three", "one two three"),
        ("one two.", "Two three", "one two. three"),
        ("one two", "two", "one two"),
        ("one two", "three", "one two three"),
        ("one two", "", "one two"),
        ("one transcr", "transcription goes on", "one transcription goes on"),
        ("one two", "one two, and three", "one two, and three"),
        ("very very", "very good", "very very good"),
        ("in a", "and then", "in a and then"),
        ("a b c d e f g h", "c d e f g h i", "a b c d e f g h i"),
        ("a b c", "b c b c d", "a b c b c d"),
        ("then she ran the", "and the circle", "then she ran the circle"),
        ("missus rachel lynde", "missus rachel lind was one", "missus rachel lynde was one"),
        ("this is a fine day", "that's a fine", "this is a fine day"),
        ("into the", "a b c d e the", "into the a b c d e the"),
    ],
)
def test_words_that_were_said_already_are_taken_out(said: str, held: str, joined: str) -> None:
    stitch = client.Stitch(said, is_open=True)
    assert [stitch.feed((letter, None, 0.0)) for letter in held] == [[]] * len(held)
    assert " ".join((said + text_of(stitch.close())).split()) == joined
    assert stitch.feed((" more", 1.0, 2.0)) == [(" more", 1.0, 2.0)]


def test_words_that_were_held_keep_their_times() -> None:
    stitch = client.Stitch("one transcr", is_open=True)
    stitch.feed(("transcription", 1.0, 1.4))
    stitch.feed((" ends", 1.5, 2.0))
    assert stitch.close() == [("iption", 1.0, 1.4), (" ends", 1.5, 2.0)]


def test_nothing_is_taken_out_of_what_was_not_listened_to_again() -> None:
    stitch = client.Stitch("one two", is_open=False)
    fed = [stitch.feed((text, None, 0.0)) for text in ("two", " three")]
    assert [*map(text_of, fed), text_of(stitch.close())] == [" two", " three", ""]


# The captions.


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_captions_are_whole_at_every_moment(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"live.{kind}"
    captions = client.CaptionFile(path)
    words: list[client.Word] = []
    assert path.read_text() == client.document([], kind, 0)
    text = "I came . I saw < that , and I con quered what I saw . " * 4
    for index, word in enumerate(text.split()):
        piece = (word if word in ".,quered" else f" {word}", index * 0.5, index * 0.5 + 0.4)
        captions.add(*piece)
        client.add_word(words, *piece)
        assert path.read_text() == client.document(words, kind, 0)
        read = webvtt.from_buffer(io.StringIO(path.read_text()), format=kind)
        assert len(read) == len(client.segments(words))
    assert len(client.segments(words)) == 8
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_captions_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(client.OutputTrouble, match=r"cannot write --captions .*No such file"):
        client.CaptionFile(tmp_path / "none" / "a.srt")


# The lines.


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("kind", ["txt", "srt"])
def test_a_full_disk_is_told_and_stdout_has_it_all(
    capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    screen = client.Screen(Path("/dev/full"), kind, None)
    with (
        pytest.raises(client.OutputTrouble, match="cannot write --save /dev/full: "),
        closing(screen),
    ):
        screen.write("Hello.", 0, 1)
    assert "Hello." in capsys.readouterr().out


def test_a_reader_that_is_gone_is_told() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (
        os.fdopen(writing, "w") as file,
        pytest.raises(client.OutputTrouble, match="Broken pipe"),
    ):
        client.put(file, "Hello.")


@given(st.lists(st.text("ab.!? \n", max_size=30)))
def test_lines_change_nothing_but_white_space(pieces: list[str]) -> None:
    lines = client.Lines()
    assert "".join(map(lines.feed, pieces)).split() == "".join(pieces).split()


def test_lines_end_with_a_sentence_or_when_they_are_full() -> None:
    text = "I met the doctor yesterday, and then Mrs. Smith. We talked. " + "word " * 40
    broken = client.Lines().feed(text)
    first, *others = broken.split("\n")
    assert first == "I met the doctor yesterday, and then Mrs. Smith."
    assert [len(line) for line in others] == [80, 84, 44]
    assert client.Lines().feed("a" * 300) == "a" * 300
    lines = client.Lines()
    pieces = ["A sentence in so many pieces is", " not", " bro", "ken", ".", " Is it", "?"]
    assert "".join(map(lines.feed, pieces)).endswith("broken.\nIs it?")


def test_lines_end_without_spaces_too() -> None:
    lines, sentence = client.Lines(), "\u4eca\u65e5\u306f\u3044\u3044\u5929\u6c17\u3067\u3059\u3002"
    text = "".join(lines.feed(sentence) for _ in range(10))
    assert text == "\n".join([sentence * 4, sentence * 4, sentence * 2])


def test_lines_begin_and_end_without_a_space() -> None:
    lines = client.Lines()
    assert [lines.feed(" one "), lines.feed("\n two"), lines.feed("  ")] == ["one", " two", ""]


# The choice of a microphone.


@pytest.mark.parametrize(
    ("wanted", "index"), [("1", 1), ("usb", 1), ("Built-in", 3), ("in micro", 2)]
)
def test_a_device_by_index_or_part_of_its_name(wanted: str, index: int) -> None:
    assert client.choose_device(DEVICES, wanted) == index


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("microphone", "several .* 'microphone'; choose from: 1 USB Microphone, 2 Built-in Micro"),
        ("hdmi", "no microphone matches .* choose from: 1 USB Microphone, 2 .*, 3 Built-in$"),
        ("0", "no microphone matches"),
    ],
)
def test_a_device_that_is_none_or_many(wanted: str, line: str) -> None:
    with pytest.raises(client.Trouble, match=line):
        client.choose_device(DEVICES, wanted)


# The talk with the server.


class Paper:
    """A screen that keeps what it is given; `shown`: all that it ever had on it."""

    def __init__(self, *, is_joint: bool = True) -> None:
        self.text = self.held = ""
        self.is_joint = is_joint
        self.shown: list[str] = []
        self.has_held = False
        self.held_beside: list[str] = []
        """What was held when a remark was told."""
        self.words: list[client.Word] = []
        self.remarks: list[str] = []
        self.written, self.told = asyncio.Event(), asyncio.Event()

    def write(self, text: str, start_s: float | None, end_s: float) -> None:
        self.text += text
        client.add_word(self.words, text, start_s, end_s)
        self.shown.append(self.text + self.held)
        self.written.set()

    def hold(self, text: str) -> None:
        self.held = text
        self.has_held = self.has_held or bool(text)
        self.shown.append(self.text + self.held)

    async def wait_for(self, text: str) -> None:
        while text not in self.text:
            self.written.clear()
            await self.written.wait()

    def tell(self, line: str) -> None:
        self.remarks.append(line)
        self.held_beside.append(self.held)
        self.told.set()


def talk(
    handler: Any, numbers: Sequence[int], limit_samples: int = 10**7, *, is_joint: bool = True
) -> Paper:
    """Say `numbers` to a server, all at once; what came back."""

    async def run() -> Paper:
        ring = client.Ring(limit_samples)
        ring.append(spoken([*numbers, 0]))
        ring.is_closed = True
        async with talking(handler, ring, is_joint=is_joint) as (paper, done):
            await done
        return paper

    return asyncio.run(run())


@asynccontextmanager
async def talking(
    handler: Any, ring: client.Ring, *, is_joint: bool = True
) -> AsyncIterator[tuple[Paper, asyncio.Task[None]]]:
    """A talk that goes on beside the test; what came back so far, and when it is done."""
    async with serve(handler, "127.0.0.1", 0, max_size=None) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        options = client.parse_options(["--url", f"127.0.0.1:{port}", "--model", "m"])
        paper: Any = Paper(is_joint=is_joint)
        async with asyncio.timeout(DEADLINE_S):
            yield paper, asyncio.create_task(client.Talk(options, ring, paper).run())


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between attempts."""
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)


WAYS = ["vanish", "stop", "close", "error", "junk"]


@pytest.mark.usefixtures("impatience")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.builds(Break, st.integers(1, 40), st.sampled_from([*WAYS, "done"])), max_size=5))
def test_no_word_is_lost_or_doubled_however_often_the_server_goes(breaks: list[Break]) -> None:
    server = NumberServer(breaks)
    numbers = list(range(1_000, 1_100))
    assert talk(server, numbers).text.split() == list(map(str, numbers))
    assert server.connections <= len(breaks) + 1


@pytest.mark.usefixtures("impatience")
@settings(max_examples=10, deadline=None)
@given(st.lists(st.builds(Break, st.integers(1, 40), st.sampled_from(WAYS)), max_size=4))
def test_no_letter_is_lost_or_doubled_in_a_script_without_spaces(breaks: list[Break]) -> None:
    numbers = list(range(1_000, 1_100))
    paper = talk(NumberServer(breaks, is_han=True), numbers)
    assert "".join(paper.text.split()) == "".join(han(str(number)) for number in numbers)


@pytest.mark.usefixtures("impatience")
@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.builds(Break, st.integers(1, 40), st.sampled_from(WAYS)), max_size=3),
    st.booleans(),
)
def test_words_keep_their_times_however_often_the_server_goes(
    breaks: list[Break], has_times: bool
) -> None:
    """With the server's times, and with counted ones."""
    numbers = list(range(1_000, 1_060))
    paper = talk(NumberServer(breaks, has_times=has_times), numbers)
    assert [int(text) for text, _, _ in paper.words] == numbers
    for frame, (_, start_s, end_s) in enumerate(paper.words):
        assert start_s == pytest.approx(frame * 0.08, abs=1e-3)
        assert end_s == pytest.approx(frame * 0.08 + 0.08, abs=1e-3)


@pytest.mark.usefixtures("impatience")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.builds(Break, st.integers(1, 20), st.sampled_from(WAYS)), max_size=4))
def test_no_word_is_lost_or_doubled_by_bare_vllm(breaks: list[Break]) -> None:
    """It tells no times and writes late: more is said again, and taken out again."""
    server = NumberServer(breaks, has_times=False, delay_frames=6)
    words = list(range(1_000, 1_050))
    numbers = [number for word in words for number in (0, 0, 0, word)] + [0] * 10
    assert talk(server, numbers).text.split() == list(map(str, words))


@pytest.mark.usefixtures("impatience")
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.builds(Break, st.integers(1, 40), st.sampled_from([*WAYS, "cut"])), max_size=4),
    st.integers(1, 8),
)
def test_tentative_words_are_never_seen_twice_and_never_stay(
    breaks: list[Break], delay_frames: int
) -> None:
    """They follow the text at every moment, however often the server goes."""
    server = NumberServer(breaks, delay_frames=delay_frames, tells=True)
    numbers = list(range(1_000, 1_060))
    paper = talk(server, numbers)
    assert paper.text.split() == list(map(str, numbers))
    for shown in paper.shown:
        words = shown.split()
        assert words == list(map(str, numbers[: len(words)]))
    assert paper.held == ""
    assert any(len(shown) > len(paper.text) / 2 for shown in paper.shown)
    assert [text.strip() for text, _, _ in paper.words] == list(map(str, numbers))


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("way", ["vanish", "stop", "close", "error"])
def test_tentative_words_are_gone_while_the_server_is(way: str) -> None:
    server = NumberServer([Break(20, way)], delay_frames=5, tells=True)
    paper = talk(server, list(range(1_000, 1_060)))
    assert "trying again" in paper.remarks[0]
    assert paper.held_beside[0] == ""
    assert paper.has_held


@pytest.mark.parametrize(("tells", "is_joint"), [(True, True), (True, False), (False, True)])
def test_tentative_words_are_asked_of_a_server_that_can_resume_if_they_can_be_shown(
    tells: bool, is_joint: bool
) -> None:
    """Bare vLLM is asked for nothing that it does not know."""
    server = NumberServer(tells=tells, delay_frames=3)
    paper = talk(server, list(range(1, 20)), is_joint=is_joint)
    update: dict[str, Any] = {"type": "session.update", "model": "m"}
    if tells:
        update |= {"resume": True} | ({"tentative": True} if is_joint else {})
    assert server.wishes == [update]
    assert paper.has_held == (tells and is_joint)


@pytest.mark.usefixtures("impatience")
def test_what_is_older_than_the_ring_is_told_as_lost() -> None:
    """Of 8 s, only the last 4 s were kept while the server was away."""
    paper = talk(NumberServer(), list(range(1, 101)), limit_samples=65_280)
    assert paper.text.split() == [str(number) for number in range(51, 101)]
    assert paper.remarks == ["lost, because it was too long ago: 0:00:00 to 0:00:04"]


@pytest.mark.usefixtures("impatience")
def test_a_long_silence_is_not_said_again() -> None:
    """After two minutes without a word, the server listens to the last half minute again."""
    listened: list[int] = []

    class Counting(NumberServer):
        async def _hear(self, connection: ServerConnection, frame: bytes) -> bool:
            listened.append(self.connections)
            return await super()._hear(connection, frame)

    numbers = [1] + [0] * 1_500 + [2] + [0] * 1_499 + [3]
    paper = talk(Counting([Break(2, "error")]), numbers)
    assert paper.text.split() == ["1", "2", "3"]
    assert listened.count(2) <= 1_500 + 375


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("way", WAYS)
def test_a_word_after_a_break_is_said_when_the_speaker_pauses(
    monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """No later word tells that it is not one of the old."""
    monkeypatch.setattr(client, "NO_WORD_S", 0.0)

    async def run() -> None:
        ring = client.Ring(10**7)
        ring.append(spoken([1, 2, 3] + [0] * 100))
        async with talking(NumberServer([Break(2, way)]), ring) as (paper, done):
            await paper.wait_for("3")
            ring.is_closed = True
            await done
        assert paper.text.split() == ["1", "2", "3"]

    asyncio.run(run())


@pytest.mark.usefixtures("impatience")
def test_bare_vllm_that_ends_an_utterance_by_itself_is_begun_anew() -> None:
    async def run() -> None:
        ring, words = client.Ring(10**7), list(range(1_000, 1_050))
        ring.append(spoken([number for word in words for number in (0, 0, 0, word)] + [0] * 50))
        server = NumberServer([Break(20, "done")], has_times=False, delay_frames=6)
        async with talking(server, ring) as (paper, done):
            await paper.wait_for("1049")
            ring.is_closed = True
            await done
        assert paper.text.split() == list(map(str, words))

    asyncio.run(run())


@pytest.mark.usefixtures("impatience")
def test_the_last_words_have_a_deadline_that_progress_extends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that listens to a third and then says nothing."""

    async def tired(connection: ServerConnection) -> None:
        await send(connection, type="session.created", id="sess-1", created=1)
        async for message in connection:
            if "append" in str(message):
                await send(connection, type="transcription.delta", delta="one", end_s=1.0)

    monkeypatch.setattr(client, "LAST_WORDS_S", 0.5)
    with pytest.raises(client.Trouble, match=r"the last 2\.0 s were not transcribed in time"):
        talk(tired, [1] * 37)


def refusing(code: str) -> Callable[[ServerConnection], Any]:
    """A server that has a reason not to serve."""

    async def handler(connection: ServerConnection) -> None:
        await send(connection, type="error", error="no", code=code)
        await connection.close(1013)

    return handler


def test_a_first_refusal_that_will_not_pass_is_final() -> None:
    with pytest.raises(client.Trouble, match="the server says: no"):
        talk(refusing("model_not_found"), [1])


@pytest.mark.usefixtures("impatience")
@pytest.mark.parametrize("code", ["server_busy", "engine_unavailable", "server_stopping"])
def test_a_first_refusal_that_passes_is_told_once_and_waited_for(code: str) -> None:
    calls = 0
    server = NumberServer()

    async def busy_at_first(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        await (server(connection) if calls > 3 else refusing(code)(connection))

    paper = talk(busy_at_first, [1, 2])
    assert paper.text.split() == ["1", "2"]
    waiting, connected = paper.remarks
    assert re.search(r"says: no \(what you say is kept; trying again\)", waiting)
    assert connected == "connected again"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "ftp://box"],
        ["--keep-minutes", "0"],
        ["--keep-minutes", "nan"],
        ["--no-such"],
        ["--format", "doc"],
        ["--captions", "live.txt"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        client.parse_options(arguments)
    assert caught.value.code == 2
