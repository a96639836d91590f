import socket
from pathlib import Path

import pytest

from lanscribe.identity import surroundings


def test_suffixes_are_the_search_domains_of_the_resolver(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# made by DHCP\nnameserver 192.168.1.1\nsearch fritz.box tail1.ts.net\ndomain fritz.box\n"
        "search\n\noptions edns0\n"
    )
    assert surroundings.suffixes(file) == ["fritz.box", "tail1.ts.net"]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe search"])
def test_without_search_domains_there_are_no_suffixes(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "resolv.conf"
    if content is not None:
        file.write_bytes(content)
    assert surroundings.suffixes(file) == []


def test_the_names_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "nas")
    monkeypatch.setattr(surroundings, "suffixes", lambda: ["ts.example"])
    assert surroundings.machine_names()[0] == "nas"
    assert "nas.ts.example" in surroundings.machine_names()
