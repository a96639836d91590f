"""The file that keeps this box's name in multicast DNS from one start to the next."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lanscribe.identity import secret_files
from lanscribe.identity.local_name import belongs, candidates

log = logging.getLogger(__name__)

FILE_NAME = "name"
"""In the state folder: the label alone, such as lanscribe-2."""
_MOST_LETTERS = 80


@dataclass(frozen=True, slots=True)
class KeptName:
    """The label that was got last, in a file of the state folder."""

    state_dir: Path
    wanted: str
    """discovery.name; a kept label of another name is forgotten."""

    @property
    def label(self) -> str:
        """The label that was got last; "" if none fits."""
        try:
            with (self.state_dir / FILE_NAME).open(encoding="utf-8", errors="replace") as file:
                kept = file.read(_MOST_LETTERS).strip()
        except OSError:
            return ""
        return kept if belongs(kept, self.wanted) else ""

    def candidates(self) -> Iterator[str]:
        """The labels to try in turn, the kept one first; they do not end."""
        return candidates(self.wanted, self.label)

    def keep(self, label: str) -> None:
        """Keep it; without a file that can be written, the next start looks for a name again."""
        if label == self.label:
            return
        try:
            secret_files.make_folder(self.state_dir)
            partial = self.state_dir / f".{FILE_NAME}.partial"
            partial.write_text(f"{label}\n", encoding="utf-8")
            partial.replace(self.state_dir / FILE_NAME)
        except OSError as error:
            log.warning("cannot keep the name %s.local: %s", label, error)
