"""The view for files: chosen, dropped, refused, broken off, and heard again."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

from lanscribe.server.gateway import Gateway
from lanscribe.speech.audio import Samples
from tests.browser.chromium import ChromiumPage
from tests.browser.conftest import StartBox
from tests.browser.judging import violations
from tests.browser.page_box import PageBox
from tests.browser.recording import SPEECH
from tests.browser.recording import WORDS as SPOKEN
from tests.media.test_choice import film
from tests.servers import Parts, ServeHere
from tests.sounds import KINDS
from tests.support import DEADLINE_S

SAID = "fail"
WORDS = [SAID if word == "failed" else word for word in SPOKEN]
FACTS = """() => Array.from(document.querySelectorAll("#files .file"), (one) => ({
  name: one.querySelector("h2").textContent,
  state: one.dataset.job,
  told: one.querySelector(".file-state").textContent,
  text: Array.from(one.querySelectorAll(".settled"), (part) => part.textContent).join(" "),
  gaps: Array.from(one.querySelectorAll(".gap"), (gap) => gap.dataset.code),
  track: one.querySelector(".tracks:not([hidden]) select")?.value ?? "",
}))"""
DROP = """(files) => {
  const carried = new DataTransfer();
  for (const { name, data } of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    carried.items.add(new File([bytes], name));
  }
  const options = { dataTransfer: carried, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("dragover", options));
  document.body.dispatchEvent(new DragEvent("drop", options));
}"""

KEPT = """async () => {
  const { Store } = await import("/pages/app/keep/store.js");
  const found = await new Store(indexedDB, () => {}).list();
  return found.sort((one, other) => one.startedMs - other.startedMs);
}"""


@pytest.fixture(scope="module")
def speech() -> Samples:
    samples, rate_hz = soundfile.read(SPEECH, dtype="float32")
    assert rate_hz == 16_000
    found: Samples = samples
    return found


@pytest.fixture(scope="module")
def file_box(shared_box: PageBox, speech: Samples) -> PageBox:
    """The shared box, which has heard a file: its process that decodes stays from then on."""
    url = f"{shared_box.server.http_url}/v1/audio/transcriptions"
    wave = KINDS["wav"](speech[:16_000])
    assert httpx.post(url, files={"file": wave}, timeout=DEADLINE_S).status_code == 200
    return shared_box


@pytest.fixture
def files(file_box: PageBox, tab: ChromiumPage) -> Iterator[ChromiumPage]:
    """The view, in a tab whose page complains of nothing."""
    tab.open(file_box.url("#files"))
    yield tab
    assert not [one for one in tab.complaints if "Failed to load resource" not in one]


def choose(tab: ChromiumPage, *files: tuple[str, bytes]) -> None:
    payloads: Any = [
        {"name": name, "mimeType": "application/octet-stream", "buffer": data}
        for name, data in files
    ]
    tab.do(tab.tab.set_input_files("#files input[type=file]", payloads))


def ended(tab: ChromiumPage, *states: str) -> list[dict[str, Any]]:
    """What the view shows when its files are in these states."""
    for number, state in enumerate(states, 1):
        place = f"#files .file:nth-child({number})[data-job={state}]"
        tab.do(tab.tab.locator(place).wait_for(state="attached"))
    facts: list[dict[str, Any]] = tab.run(FACTS)
    assert len(facts) == len(states)
    return facts


def words(text: str) -> list[str]:
    """Its words as those of the recording; packed sound makes "fail" sound like "failed"."""
    return [SAID if word == "failed" else word for word in re.findall(r"[a-z]+", text.lower())]


def test_several_are_chosen_and_one_is_heard_after_the_other(
    files: ChromiumPage, speech: Samples
) -> None:
    chosen = [(f"{kind}.{kind}", KINDS[kind](speech)) for kind in ("wav", "mp3", "m4a", "webm")]
    choose(files, *chosen)
    facts = ended(files, *["done"] * 4)
    assert [one["name"] for one in facts] == [name for name, _ in chosen]
    for one in facts:
        assert words(one["text"]) == WORDS
        assert (one["gaps"], one["track"]) == ([], "")
    kept = files.run(KEPT)
    assert [(one["title"], one["kind"], one["isOpen"]) for one in kept] == [
        (name, "file", False) for name, _ in chosen
    ]
    assert {one["model"] for one in kept} == {"moonshine-base-en"}
    assert all(9.9 < one["durationS"] < 10.1 for one in kept)


def event(name: str, **fields: Any) -> str:
    return json.dumps({"type": f"transcript.{name}", **fields})


DELTA, DONE = event("text.delta", delta=" aword", start=0, end=1), event("text.done")
ANSWERS = {
    "unknown code": (200, [DELTA, event("missing", start=1, end=2, code="new_code"), DONE], "done"),
    "no event": (200, [DELTA, "{bad", "null", "[5]", DONE], "done"),
    "no times": (200, [event("text.delta", delta=" aword"), event("progress"), DONE], "done"),
    "wrong types": (
        200,
        [DELTA, event("missing", code=5), event("track", count=1e9), DONE],
        "done",
    ),
    "odd end": (200, [DELTA, event("text.done", lost=[{}], no_speech={"code": "odd"})], "done"),
    "odd silence": (200, [event("text.done", no_speech={"code": "odd"})], "done"),
    "odd error": (200, [DELTA, '{"type":"error","error":{"code":"constructor"}}'], "failed"),
    "odd sentence": (400, '{"error":{"code":"x","message":{"a":1}}}', "failed"),
    "refused before the box": (413, "<h1>Too Large</h1>", "failed"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_whatever_the_answer_is_the_next_file_is_heard(
    files: ChromiumPage, speech: Samples, name: str
) -> None:
    status, told, state = ANSWERS[name]
    body = told if isinstance(told, str) else "".join(f"data: {one}\n\n" for one in told)

    async def answer(route: Any) -> None:
        await route.fulfill(status=status, content_type="text/event-stream", body=body)

    files.do(files.tab.route("**/v1/audio/transcriptions", answer, times=1))
    choose(files, ("odd.wav", KINDS["wav"](speech)), ("good.wav", KINDS["wav"](speech)))
    odd, good = ended(files, state, "done")
    assert odd["text"] in {"aword", ""}
    assert odd["told"]
    assert "undefined" not in odd["told"]
    assert "NaN" not in files.run("() => document.getElementById('files').innerText")
    assert words(good["text"]) == WORDS


def test_files_are_dropped_on_any_view(files: ChromiumPage, speech: Samples) -> None:
    files.run("() => { location.hash = 'settings'; }")
    data = base64.b64encode(KINDS["ogg"](speech)).decode()
    files.run(DROP, [{"name": "a.ogg", "data": data}, {"name": "b.ogg", "data": data}])
    for one in ended(files, "done", "done"):
        assert words(one["text"]) == WORDS
    assert files.run("() => document.getElementById('files').hidden") is False


def test_a_wrong_file_gets_the_servers_own_sentence(files: ChromiumPage) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + bytes(200)
    name = "x" * 240 + ".png"
    choose(files, (name, picture), ("empty.wav", b""), ("text.txt", b"no sound at all\n" * 50))
    facts = ended(files, "failed", "failed", "failed")
    assert facts[0]["name"] == name
    assert "picture" in facts[0]["told"] or "PNG" in facts[0]["told"]
    assert "empty" in facts[1]["told"]
    assert len({one["told"] for one in facts}) == 3
    assert violations(files) == []
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    files.do(files.tab.set_viewport_size({"width": 320, "height": 600}))
    assert files.run(wide) == 0


def test_silence_is_done_without_text(files: ChromiumPage) -> None:
    choose(files, ("silent.wav", KINDS["wav"](np.zeros(32_000, dtype=np.float32))))
    (one,) = ended(files, "done")
    assert one["told"] == "Done: it is silent, without any sound"


def test_what_is_missing_is_marked(files: ChromiumPage, speech: Samples) -> None:
    whole = KINDS["wav"](speech)
    choose(files, ("cut.wav", whole[: len(whole) * 2 // 3]))
    (one,) = ended(files, "done")
    assert one["gaps"] == ["cut_off"]
    found = words(one["text"])
    assert 4 <= len(found) < len(WORDS)
    assert found[:-1] == WORDS[: len(found) - 1]


def test_another_track_is_heard_if_it_is_chosen(files: ChromiumPage, speech: Samples) -> None:
    quiet = np.zeros_like(speech)
    choose(files, ("film.mkv", film([quiet, speech, quiet], languages=["eng", "deu", "fra"])))
    (one,) = ended(files, "done")
    assert (one["track"], words(one["text"])) == ("2", WORDS)
    assert violations(files) == []
    select = "#files .tracks select"
    files.do(files.tab.select_option(select, "3"))
    files.do(files.tab.locator("#files [data-job=done] .file-state", has_text="silent").wait_for())
    (one,) = ended(files, "done")
    assert (one["track"], one["text"]) == ("3", "")
    files.do(files.tab.select_option(select, "all"))
    files.do(files.tab.locator("#files [data-job=done] .settled").first.wait_for())
    (one,) = ended(files, "done")
    assert (one["track"], words(one["text"])) == ("all", WORDS)


def test_one_is_cancelled_and_the_next_goes_on(files: ChromiumPage, speech: Samples) -> None:
    long = KINDS["wav"](np.tile(speech, 4))
    choose(files, ("long.wav", long), ("short.wav", KINDS["wav"](speech)))
    files.do(files.tab.click("#files .file:first-child .cancel"))
    first, second = ended(files, "cancelled", "done")
    assert words(second["text"]) == WORDS
    files.do(files.tab.click("#files .file:first-child .remove"))
    assert [one["name"] for one in files.run(FACTS)] == ["short.wav"]
    assert first["told"] == "Cancelled"


def test_a_connection_that_breaks_in_the_middle_begins_anew(
    files: ChromiumPage, file_box: PageBox, speech: Samples
) -> None:
    choose(files, ("long.wav", KINDS["wav"](np.tile(speech, 4))))
    files.do(files.tab.locator("#files .settled").first.wait_for())
    file_box.wire.cut()
    ended(files, "holding")
    (one,) = ended(files, "done")
    assert words(one["text"])[: 2 * len(WORDS)] == WORDS * 2
    assert len(words(one["text"])) >= 3 * len(WORDS)


@pytest.mark.long  # a broken connection and a box that loads are the halves of it
def test_a_box_that_restarts_gets_the_file_again(
    tab: ChromiumPage, start_box: StartBox, speech: Samples
) -> None:
    box = start_box(limits={"stop_timeout_s": 0.1, "close_timeout_s": 0.2})
    tab.open(box.url("#files"))
    choose(tab, ("long.wav", KINDS["wav"](np.tile(speech, 4))))
    tab.do(tab.tab.locator("#files .settled").first.wait_for())
    box.stop()
    (one,) = ended(tab, "holding")
    assert one["told"].endswith("as soon as it does.")
    box.start()
    tab.run("() => dispatchEvent(new Event('online'))")
    (one,) = ended(tab, "done")
    assert words(one["text"])[: len(WORDS)] == WORDS


def test_a_box_that_loads_is_asked_again(
    tab: ChromiumPage, serve_here: ServeHere, speech: Samples
) -> None:
    """Over http, where files work too."""
    gateways: list[Gateway] = []

    def kept(*arguments: Any, **options: Any) -> Gateway:
        gateways.append(Gateway(*arguments, **options))
        return gateways[-1]

    box = serve_here(Parts(gateway=kept))
    gateways[0].set_loading("the engine is loading")
    tab.open(f"http://lanscribe.local:{box.port}/#files")
    choose(tab, ("a.wav", KINDS["wav"](speech)))
    (one,) = ended(tab, "holding")
    assert one["told"].startswith("The box is loading its model.")
    gateways[0].set_loading(None)
    tab.run("() => dispatchEvent(new Event('online'))")
    ended(tab, "done")


def test_a_busy_box_is_asked_again(
    tab: ChromiumPage, serve_here: ServeHere, speech: Samples
) -> None:
    box = serve_here(engine={"sessions": 1})
    tab.open(f"http://lanscribe.local:{box.port}/#files")
    with connect(box.url) as other:
        assert "session.created" in str(other.recv(DEADLINE_S))
        choose(tab, ("a.wav", KINDS["wav"](speech)))
        (one,) = ended(tab, "holding")
        assert one["told"].startswith("The box is busy with others.")
    tab.run("() => dispatchEvent(new Event('online'))")
    ended(tab, "done")
