"""Writes the shared code into the two clients: .venv/bin/python -m clients.generate

A client is one file that runs alone, so it cannot import shared code. Instead it has a block for
each of its SOURCES, between the lines `# >>> FILE: ...` and `# <<< FILE`. A block is the text of
FILE without its docstring and imports; the imports are added to those of the client. Then ruff
sorts the imports, removes unused ones, and formats. To share one more file, add it to SOURCES; the
blocks are written in that order between the first marker and the last.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parents[1]
MICROPHONE_CLIENT = PROJECT_DIR / "stream_microphone.py"
FILE_CLIENT = PROJECT_DIR / "test_file_transcribe.py"
_SHARED = (
    "lanscribe/speech/audio.py",
    "lanscribe/speech/resampler.py",
    "lanscribe/speech/mixing.py",
    "clients/terminal.py",
    "clients/output.py",
    "clients/address.py",
    "clients/discovery.py",
    "clients/reasons.py",
    "clients/protocol.py",
    "clients/stitch.py",
    "clients/story.py",
    "clients/going_on.py",
    "lanscribe/speech/captions.py",
    "clients/document.py",
)
_READER = (
    "lanscribe/speech/ring.py",
    "lanscribe/speech/timeline.py",
    "lanscribe/media/pieces.py",
    "lanscribe/media/missing.py",
    "lanscribe/media/levels.py",
    "lanscribe/media/source.py",
    "lanscribe/media/headers.py",
    "lanscribe/media/kinds.py",
    "lanscribe/media/times.py",
    "lanscribe/media/parts.py",
    "lanscribe/media/ffmpeg.py",
    "lanscribe/media/tape.py",
    "lanscribe/media/bounds.py",
    "lanscribe/media/mixed.py",
    "lanscribe/media/tracks.py",
    "lanscribe/media/sndfile.py",
    "lanscribe/media/recording.py",
    "lanscribe/media/part.py",
    "lanscribe/media/reader.py",
    "clients/audio_source.py",
)
"""What reads a recording; a file comes after those that it uses."""
SOURCES = {MICROPHONE_CLIENT: _SHARED, FILE_CLIENT: (*_SHARED, *_READER)}
"""The sources of each client, in the order of its blocks."""
COMMAND = ".venv/bin/python -m clients.generate"
OWN_PACKAGES = ("clients", "lanscribe")
BLOCKS = re.compile(r"^# >>> \S+: .*^# <<< \S+$", re.MULTILINE | re.DOTALL)


def generated(client: str, sources: Sequence[str]) -> str:
    """A client with fresh blocks. Raises ValueError without markers, or for wrong SOURCES."""
    handwritten, count = BLOCKS.subn("", client)
    if not count:
        raise ValueError(f"expected a line `# >>> FILE: ` and later one `# <<< FILE`: {COMMAND}")
    check_names(handwritten, sources)
    check_imports(sources)
    blocks = "\n\n\n".join(map(block_of, sources))
    return by_ruff(with_imports(BLOCKS.sub(lambda _: blocks, client), sources))


def block_of(source: str) -> str:
    """A source as a block of a client."""
    marker = f"# >>> {source}: edit it there, then run: {COMMAND}"
    return f"{marker}\n{body_of(source)}\n\n\n# <<< {source}"


def body_of(source: str) -> str:
    """A source without its docstring and its imports."""
    text = text_of(source)
    docstring, *_ = ast.parse(text).body
    last = [docstring, *imports_of(text)][-1]
    return "\n".join(text.split("\n")[last.end_lineno :]).strip()


def text_of(source: str) -> str:
    """The text of the file."""
    return (PROJECT_DIR / source).read_text(encoding="utf-8")


def imports_of(text: str) -> list[ast.Import | ast.ImportFrom]:
    """The imports at the top level."""
    return [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]


def with_imports(client: str, sources: Sequence[str]) -> str:
    """The client with the imports of its blocks added, one on a line, after its own imports."""
    present = imports_of(client)
    had = {line for node in present for line in lines_of(node)}
    needed = {
        line
        for source in sources
        for node in imports_of(text_of(source))
        for line in lines_of(node)
    }
    lines = client.split("\n")
    lines.insert(present[-1].end_lineno or 0, "\n".join(sorted(needed - had)))
    return "\n".join(lines)


def lines_of(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """An import as one line for each name; nothing for modules that the clients have as a block."""
    if isinstance(node, ast.Import):
        yield from (ast.unparse(ast.Import([name])) for name in node.names)
    elif str(node.module).partition(".")[0] not in OWN_PACKAGES:
        yield from (ast.unparse(ast.ImportFrom(node.module, [name], 0)) for name in node.names)


def check_names(handwritten: str, sources: Sequence[str]) -> None:
    """Raise ValueError if two parts of a client define the same name."""
    parts = [handwritten, *map(text_of, sources)]
    count = Counter(name for part in parts for name in names_of(part))
    if twice := [name for name, times in count.items() if times > 1]:
        raise ValueError(f"defined in more than one part of a client: {', '.join(twice)}")


def check_imports(sources: Sequence[str]) -> None:
    """Raise ValueError if a source uses a file of the project that comes later, or not at all."""
    for place, source in enumerate(sources):
        for node in imports_of(text_of(source)):
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            used = f"{module.replace('.', '/')}.py"
            if module.startswith(OWN_PACKAGES) and used not in sources[:place]:
                raise ValueError(f"{source} uses {used}: add it to SOURCES, before {source}")


def names_of(text: str) -> set[str]:
    """The names defined at the top level."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            names |= {part.id for part in parts if isinstance(part, ast.Name)}
    return names


def by_ruff(client: str) -> str:
    """The client formatted, with sorted imports and without unused ones."""
    name = ["--stdin-filename", str(MICROPHONE_CLIENT), "-"]
    client = ruff(["check", "--select", "I,F401", "--fix-only", "--quiet", *name], client)
    return ruff(["format", "--quiet", *name], client)


def ruff(arguments: list[str], text: str) -> str:
    """Run ruff on a text; return the result. Raises CalledProcessError."""
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(
        command, input=text, stdout=subprocess.PIPE, text=True, check=True, cwd=PROJECT_DIR
    )
    return done.stdout


def main() -> None:
    """Write the clients whose blocks are out of date."""
    for client, sources in SOURCES.items():
        before = client.read_text(encoding="utf-8")
        if (after := generated(before, sources)) != before:
            client.write_text(after, encoding="utf-8")
            sys.stderr.write(f"wrote {client.name}\n")


if __name__ == "__main__":
    main()
