"""Where no registry of packages is reached, tests of clients are skipped, but not in CI."""

import json
from pathlib import Path

import pytest

from tests.protocols import environment
from tests.protocols.environment import Unreachable

NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def _unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("UV_DEFAULT_INDEX", NOWHERE)
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_registry", NOWHERE)
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.delenv("CI", raising=False)


def test_without_an_index_of_python_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = r"clients cannot be installed.*127\.0\.0\.1:9/"
    with pytest.raises(pytest.skip.Exception, match=told), environment.or_skipped():
        environment.python_of_clients(tmp_path)
    assert not (tmp_path / "stamp").exists()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(Unreachable), environment.or_skipped():
        environment.python_of_clients(tmp_path)


def test_without_a_registry_for_node(tmp_path: Path, client_python: Path) -> None:
    package = {"dependencies": {"ws": "8.23.0"}}
    packages = {"": package, "node_modules/ws": {"version": "8.23.0"}}
    lock = {"lockfileVersion": 3, "packages": packages}
    (tmp_path / "package.json").write_text(json.dumps(package))
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(Unreachable, match="ECONNREFUSED"):
        environment.install_for_node(environment.node_of_clients(client_python), tmp_path)
