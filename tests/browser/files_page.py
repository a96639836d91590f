"""The view "files" as a person uses it."""

import base64
from pathlib import Path

from tests.browser.live_page import Runs, wait

CHOOSE = """(name, type, content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const input = document.querySelector("#files input[type=file]");
  input.files = data.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}"""
DROP = """(name, type, content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
    document.getElementById("main").dispatchEvent(event);
  }
}"""


class FilesPage:
    """The view of an open page."""

    def __init__(self, tab: Runs) -> None:
        self._tab = tab

    def open(self) -> None:
        """Go there."""
        self._tab.run("() => { location.hash = '#files' }")

    def choose(self, file: Path) -> None:
        """Choose a file, as by the dialog."""
        self._give(CHOOSE, file)

    def drop(self, file: Path) -> None:
        """Drop a file on the view."""
        self._give(DROP, file)

    def _give(self, how: str, file: Path) -> None:
        content = base64.b64encode(file.read_bytes()).decode()
        self._tab.run(how, file.name, "audio/wav", content)

    def wait_done(self, count: int) -> None:
        """Until so many files are transcribed."""
        done = "() => document.querySelectorAll('#files [data-job=done]').length"
        wait(lambda: self._tab.run(done) >= count, "the file is never done")
