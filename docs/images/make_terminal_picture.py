"""Makes terminal.svg: a real run of the microphone client, its server restarted half-way.

    PYTHONPATH=. .venv/bin/python docs/images/make_terminal_picture.py

Needs what the tests of the clients need: the model, PulseAudio, PortAudio.
"""

import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests.clients.program import Program
from tests.clients.sound import SoundCard
from tests.conftest import PROJECT_DIR, Server

PICTURE = Path(__file__).with_name("terminal.svg")
SPEECH = PROJECT_DIR / "models/samples/beckett.wav"
URL = "ws://localhost:8000"
WIDTH = 92


def main() -> None:
    """Run the client while somebody speaks, and draw what is on the terminal."""
    with tempfile.TemporaryDirectory() as folder, SoundCard() as card:
        server = Server(["--engine", "embedded"], {}, Path(folder) / "log", port=8000)
        server.start()
        screen = speak(card, server)
        server.stop()
    console = Console(record=True, width=WIDTH, force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ uv run stream_microphone.py --url {URL}"))
    for line in lines_on_screen(screen):
        console.print(Text.from_ansi(line))
    svg = console.export_svg(title="lanscribe")
    # Without the fonts that it would load from elsewhere: any fixed-width one will do.
    PICTURE.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")


def speak(card: SoundCard, server: Server) -> str:
    """What the client has written when the last words are being said."""
    environment = {**card.environment, "COLUMNS": str(WIDTH)}
    program = Program(
        "stream_microphone.py", "--url", URL, environment=environment, in_terminal=True
    )
    program.out.wait_for("connected  0:00:0")
    with ThreadPoolExecutor() as pool:
        playing = pool.submit(card.play, SPEECH)
        program.out.wait_for("No matter.")
        server.kill()
        program.out.wait_for("trying again)")
        server.restart()
        program.out.wait_for("better.")
        playing.result()
        pool.submit(card.play, SPEECH)
        program.out.wait_until(lambda _: is_in_a_word(lines_on_screen(program.out.raw)))
        screen = program.out.raw
    program.interrupt()
    program.wait()
    return screen


def is_in_a_word(lines: list[str]) -> bool:
    """Whether it is said for the second time, and something loud just now."""
    text = " ".join(lines)
    return text.count("No matter") == 2 and re.search(r"-[12]\d dB", lines[-1]) is not None


def lines_on_screen(written: str) -> list[str]:
    """What is left to see of it: the live line goes back and writes over itself."""
    lines = [""]
    for piece in re.split(r"(\r|\n|\x1b\[2K|\x1b\[1A|\x1b\[\?25[hl])", written):
        if piece == "\n":
            lines.append("")
        elif piece == "\x1b[1A":
            lines.pop()
        elif piece == "\x1b[2K":
            lines[-1] = ""
        elif piece != "\r" and not piece.startswith("\x1b[?"):
            lines[-1] += piece
    return lines


if __name__ == "__main__":
    main()
