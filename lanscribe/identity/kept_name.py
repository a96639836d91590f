"""The file that keeps this box's name in multicast DNS from one start to the next."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lanscribe import PROJECT_DIR
from lanscribe.config import Settings
from lanscribe.identity import secret_files
from lanscribe.identity.local_name import belongs, candidates, full_name

log = logging.getLogger(__name__)

FILE_NAME = "name"
"""In the state folder: the label alone, such as lanscribe-2."""
_MOST_BYTES = 80


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
            content = secret_files.read(self.state_dir / FILE_NAME, _MOST_BYTES)
        except OSError:
            return ""
        kept = content.decode("utf-8", "replace").strip()
        return kept if belongs(kept, self.wanted) else ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """That of the state folder, for the name that the settings want."""
        return cls(PROJECT_DIR / settings.server.state_dir, settings.discovery.name)

    @property
    def name(self) -> str:
        """The label with its domain, such as lanscribe-2.local; "" without one."""
        return full_name(self.label) if self.label else ""

    def candidates(self) -> Iterator[str]:
        """The labels to try in turn, the kept one first; they do not end."""
        return candidates(self.wanted, self.label)

    def keep(self, label: str) -> None:
        """Keep it; without a file that can be written, the next start looks for a name again."""
        if label == self.label:
            return
        try:
            secret_files.make_folder(self.state_dir)
            secret_files.put(self.state_dir / FILE_NAME, f"{label}\n".encode())
        except OSError as error:
            log.warning("cannot keep the name %s: %s", full_name(label), error)
