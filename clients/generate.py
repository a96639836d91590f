"""Writes the shared code into the two clients: .venv/bin/python -m clients.generate

A client is one file that runs alone, so it cannot import shared code. Instead it has a block for
each of SOURCES, between the lines `# >>> FILE: ...` and `# <<< FILE`. A block is the text of
FILE without its docstring and imports; the imports are added to those of the client. Then ruff
sorts the imports, removes unused ones, and formats. To share one more file, add it to SOURCES, and
add its two marker lines to both clients.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parents[1]
CLIENTS = (PROJECT_DIR / "stream_microphone.py", PROJECT_DIR / "test_file_transcribe.py")
SOURCES = (
    "clients/terminal.py",
    "clients/protocol.py",
    "clients/stitch.py",
    "clients/story.py",
    "clients/going_on.py",
    "lanscribe/speech/captions.py",
    "clients/document.py",
)
"""In the order of the blocks in the clients."""
COMMAND = ".venv/bin/python -m clients.generate"
OWN_PACKAGES = ("clients", "lanscribe")
BLOCK = re.compile(r"^# >>> (?P<source>\S+):.*?^# <<< (?P=source)$", re.MULTILINE | re.DOTALL)


def generated(client: str) -> str:
    """A client with fresh blocks. Raises ValueError for wrong markers or a name defined twice."""
    if [block["source"] for block in BLOCK.finditer(client)] != list(SOURCES):
        raise ValueError(f"expected two marker lines for each of these, in order: {SOURCES}")
    check_names(BLOCK.sub("", client))
    text = BLOCK.sub(lambda block: block_of(block["source"]), client)
    return by_ruff(with_imports(text))


def block_of(source: str) -> str:
    """A source as a block of a client."""
    marker = f"# >>> {source}: edit it there, then run: {COMMAND}"
    return f"{marker}\n{body_of(source)}\n\n\n# <<< {source}"


def body_of(source: str) -> str:
    """A source without its docstring and its imports."""
    text = text_of(source)
    return "\n".join(text.split("\n")[imports_of(text)[-1].end_lineno :]).strip()


def text_of(source: str) -> str:
    """The text of the file."""
    return (PROJECT_DIR / source).read_text(encoding="utf-8")


def imports_of(text: str) -> list[ast.Import | ast.ImportFrom]:
    """The imports at the top level."""
    return [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]


def with_imports(client: str) -> str:
    """The client with the imports of its blocks added, one on a line, after its own imports."""
    present = imports_of(client)
    had = {line for node in present for line in lines_of(node)}
    needed = {
        line
        for source in SOURCES
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


def check_names(handwritten: str) -> None:
    """Raise ValueError if two parts of a client define the same name."""
    parts = [handwritten, *map(text_of, SOURCES)]
    count = Counter(name for part in parts for name in names_of(part))
    if twice := [name for name, times in count.items() if times > 1]:
        raise ValueError(f"defined in more than one part of a client: {', '.join(twice)}")


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
    name = ["--stdin-filename", str(CLIENTS[0]), "-"]
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
    for client in CLIENTS:
        before = client.read_text(encoding="utf-8")
        if (after := generated(before)) != before:
            client.write_text(after, encoding="utf-8")
            sys.stderr.write(f"wrote {client.name}\n")


if __name__ == "__main__":
    main()
