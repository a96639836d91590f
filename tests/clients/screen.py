"""What a person sees on a terminal: the rows that are left of all that was written to it."""

import re

_STEP = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    """As much of xterm as rich uses; rows that scroll off the top are kept."""

    def __init__(self, columns: int, lines: int) -> None:
        self._columns, self._lines = columns, lines
        self._rows, self._row, self._column = [""], 0, 0
        self._continuations: set[int] = set()

    def write(self, raw: str) -> None:
        """Take in whole sequences."""
        for values, command, control, text in _STEP.findall(raw):
            if command:
                self._steer(values, command)
            elif control == "\r":
                self._column = 0
            elif control == "\n":
                self._down()
            else:
                self._print(text)

    @property
    def lines(self) -> list[str]:
        """From the first one that was ever written; what goes on in the next row is one line."""
        lines: list[str] = []
        for number, row in enumerate(self._rows):
            if number in self._continuations:
                lines[-1] += row
            else:
                lines.append(row)
        return lines

    def _steer(self, values: str, command: str) -> None:
        if command == "A":
            top = max(0, len(self._rows) - self._lines)
            self._row = max(top, self._row - int(values or 1))
        elif command == "K":
            assert values == "2", f"erases a part of a line: {values!r}"
            self._rows[self._row] = ""
            self._continuations.discard(self._row)
        else:
            assert command in "mhl", f"does not know the sequence {values}{command}"

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append("")

    def _print(self, text: str) -> None:
        for letter in text:
            if self._column == self._columns:
                self._column = 0
                self._down()
                self._continuations.add(self._row)
            row = self._rows[self._row].ljust(self._column)
            self._rows[self._row] = row[: self._column] + letter + row[self._column + 1 :]
            self._column += 1
