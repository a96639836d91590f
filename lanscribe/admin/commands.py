"""Every word of the program, and the module that runs it.

Standard library only, and each module is imported when its word is given: setup.sh calls some of
them before anything is installed. A module has `add_flags(parser)` and `main(options)`, which
returns the exit status; `options.word` is the word. 2 stands for a wrong word, flag or setting.
"""

import argparse
import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn

from lanscribe.installation import say

CANNOT_PRINT = 1
WRONG_USAGE = 2
_SERVERS = ("serve", "direct")
"""Words that go on whether anybody reads what they print."""


@dataclass(frozen=True, slots=True)
class Command:
    """What one word does."""

    module: str
    meaning: str
    passes_flags_on: bool = False
    """Whether unknown flags belong to another program; they are in `options.rest`."""


WORDS = {
    "stop": Command("lanscribe.admin.control", "stop what runs from this folder"),
    "restart": Command("lanscribe.admin.control", "start it again with the current settings"),
    "status": Command("lanscribe.admin.control", "show what runs from this folder"),
    "check-config": Command("lanscribe.admin.launch", "check every setting, say what is wrong"),
    "print-env": Command("lanscribe.admin.launch", "print the settings as shell variables"),
    "key": Command("lanscribe.admin.key", "show, make or replace the key; sign browsers out"),
    "qr": Command("lanscribe.admin.qr", "show the QR code that leads a phone to this server"),
    "trust": Command("lanscribe.admin.trust", "show or replace what devices trust for https"),
    "models": Command("lanscribe.admin.models", "list or check the installed models"),
    "plan": Command("lanscribe.voxtral.plan_report", "say whether Voxtral fits into a GPU"),
    "delay": Command("lanscribe.voxtral.delay", "make a Voxtral folder with another delay"),
    "report": Command("lanscribe.admin.report", "print the facts that a bug report needs"),
    "help": Command("lanscribe.admin.commands", "print this list"),
}
"""What a user types after `bash serve.sh`; without a word it starts the server."""
SCRIPT_WORDS = {
    "serve": Command("lanscribe.admin.launch", "run the server"),
    "direct": Command(
        "lanscribe.admin.direct",
        "run vLLM itself for the network, without the gateway; further flags are vLLM's",
        passes_flags_on=True,
    ),
    "doctor": Command("lanscribe.admin.doctor", "check this machine and the installation"),
    "fitness": Command("lanscribe.admin.fitness", "say whether lanscribe can be set up here"),
    "gpu": Command("lanscribe.voxtral.gpu", "judge the NVIDIA card"),
    "installation": Command("lanscribe.installation", "write or check an environment's stamp"),
    "vllm-setup": Command("lanscribe.vllm.setup", "set up vLLM if there is a card for it"),
}
"""Further words, which setup.sh, serve.sh and the program itself call."""


class _Parser(argparse.ArgumentParser):
    """A parser that reports a wrong flag in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with 2."""
        say("lanscribe", f"{message}; {self.prog} --help lists the flags")
        self.exit(WRONG_USAGE)


def dispatch(arguments: Sequence[str]) -> int:
    """Run a word with its flags; return its exit status."""
    word, *flags = arguments or [""]
    command = (WORDS | SCRIPT_WORDS).get(word)
    if command is None:
        say("lanscribe", f"unknown word {word!r}; bash serve.sh help lists the words")
        return WRONG_USAGE
    module = import_module(command.module)
    parser = _parser(word, command)
    module.add_flags(parser)
    options, rest = parser.parse_known_args(flags)
    if rest and not command.passes_flags_on:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.word, options.rest = word, rest
    if word in _SERVERS:
        return int(module.main(options))
    with redirect_stdout(io.StringIO()) as told:
        status = int(module.main(options))
    return status if _print(told.getvalue()) else CANNOT_PRINT


def _print(text: str) -> bool:
    """Write the answer of a word to stdout; False, after one line on stderr, if that fails."""
    if not text:
        return True
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if sys.stdout is not None:  # or else Python tries once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # its reader has seen enough, as with head
            say("lanscribe", f"the answer cannot be written to stdout: {error.strerror}")
        return isinstance(error, BrokenPipeError)
    return True


def _parser(word: str, command: Command) -> _Parser:
    typed = {"serve": "bash serve.sh", "direct": "bash serve.sh --direct"}
    program = "bash serve.sh" if word in WORDS else "lanscribe"
    return _Parser(
        prog=typed.get(word, f"{program} {word}"),
        description=f"{command.meaning[0].upper()}{command.meaning[1:]}.",
        allow_abbrev=not command.passes_flags_on,
    )


def add_flags(_parser: argparse.ArgumentParser) -> None:
    """`help` has no flags."""


def main(_options: argparse.Namespace) -> int:
    """Print the words that a user types."""
    width = max(map(len, WORDS))
    lines = [f"  {word:<{width}}  {command.meaning}\n" for word, command in WORDS.items()]
    sys.stdout.writelines(["words, each with --help for its flags:\n", *lines])
    return 0
