"""A box whose page is under test: over https, behind a network that can be lost, and restarted."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lanscribe.identity.authority import Authority, save
from tests.browser.wire import Wire
from tests.servers import APART, ServerHere, SettingsHere

ENGINE = {"name": "embedded", "sessions": 4}
"""Not measured at start, which takes half a second."""
Tables = Mapping[str, Mapping[str, Any]]


@dataclass
class PageBox:
    """A server in this process, with the real engine; `wire` lies between it and the browsers."""

    folder: Path
    tables: Tables
    wire: Wire = field(init=False)
    server: ServerHere = field(init=False)
    is_running: bool = False

    def url(self, place: str = "", name: str = "lanscribe.local") -> str:
        """A place of the page, through the wire. place: what follows "/", as "#files"."""
        return f"https://{name}:{self.wire.port}/{place}"

    def plain_url(self, place: str = "", name: str = "lanscribe.local") -> str:
        """The same over http, which has no wire."""
        return f"http://{name}:{self.server.port}/{place}"

    def start(self) -> None:
        """Start it, on the ports and with the identity that it had before if it ran before."""
        state: Tables = {"server": {"state_dir": str(self.folder / "state")}, "engine": ENGINE}
        tls: Tables = {"tls": {"mode": "auto", "port": 0}, "limits": {"close_timeout_s": 0.2}}
        tables = merged(APART, state, tls, self.tables, self._ports())
        number = len(list(self.folder.glob("page*.log")))
        server = ServerHere(
            self.folder / f"page{number}.log", settings=SettingsHere.model_validate(tables)
        )
        server.start()
        self.server, self.is_running = server, True

    def _ports(self) -> Tables:
        if not hasattr(self, "server"):
            return {}
        return {"server": {"port": self.server.port}, "tls": {"port": self.server.secure_port}}

    def stop(self) -> None:
        """End it as a signal would; it may be started again."""
        self.is_running = False
        self.server.stop()

    def restart(self, **tables: Mapping[str, Any]) -> None:
        """End it and start it again, with further settings, table by table."""
        self.stop()
        self.tables = merged(self.tables, tables)
        self.start()

    @property
    def log(self) -> str:
        """What every run of it logged."""
        return "".join(one.read_text(encoding="utf-8") for one in self.folder.glob("page*.log"))


def merged(*many: Tables) -> dict[str, dict[str, Any]]:
    """Settings table by table; what comes later wins."""
    names = {name for tables in many for name in tables}
    return {
        name: {key: value for tables in many for key, value in tables.get(name, {}).items()}
        for name in names
    }


@contextmanager
def page_box(authority: Authority, folder: Path, **tables: Mapping[str, Any]) -> Iterator[PageBox]:
    """A running box that shows certificates of this authority."""
    (folder / "state/tls").mkdir(parents=True)
    save(folder / "state/tls", authority)
    box = PageBox(folder, tables)
    box.start()
    with ExitStack() as ends:
        ends.callback(lambda: box.stop() if box.is_running else None)
        box.wire = ends.enter_context(Wire(box.server.secure_port))
        yield box
