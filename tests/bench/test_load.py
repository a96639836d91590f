"""The load and warm-up commands against real servers."""

import asyncio
import re
import subprocess
import sys

import pytest

from bench import load, warmup
from bench.talk import PROTOCOLS, Outcome
from lanscribe import PROJECT_DIR
from tests.servers import ServeHere, Server
from tests.support import DEADLINE_S, client


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_come_through_and_hear_the_same(
    fake_server: Server, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = ["--requests", "9", "--concurrency", "3"]
    assert load.main([*numbers, "--protocol", protocol, "--url", fake_server.http_url]) == 0
    told = capsys.readouterr().out
    assert "texts: all 9 agree" in told
    assert "failed" not in told
    rows = re.findall(r"^\| from .+? \| (\d+\.\d\d) \| (\d+\.\d\d) \|$", told, re.M)
    assert len(rows) == 3
    assert all(float(p50) <= float(p95) for p50, p95 in rows)


def test_who_was_turned_away_is_counted(
    serve_here: ServeHere, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve_here(engine={"sessions": 1})

    async def while_it_is_taken(protocol: str) -> int:
        async with client(server.url):
            arguments = ["--requests", "2", "--protocol", protocol, "--url", server.http_url]
            return await asyncio.to_thread(load.main, arguments)

    for protocol, code in (("vllm", "server_busy"), ("yap", "server_at_capacity")):
        assert asyncio.run(while_it_is_taken(protocol)) == 1
        assert f"failed: 2 times {code}" in capsys.readouterr().out


def test_different_texts_are_shown() -> None:
    outcomes = [Outcome(text, 0.1, 0.2, 0.1) for text in ("a", "a", "b")]
    result = load.Result(outcomes, wall_s=1.0)
    assert not result.is_right
    assert "texts: 2 different ones\n  2 x 'a'\n  1 x 'b'" in load.table(result, 10.0)
    assert "throughput: 3.00 utterances and 30.0 s of audio per second" in load.table(result, 10.0)


def test_a_warm_up_is_one_utterance(fake_server: Server) -> None:
    command = [sys.executable, "-m", "bench.warmup", "--protocol", "yap"]
    result = subprocess.run(
        [*command, "--url", fake_server.http_url],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert re.match(r"waited \d+\.\d s; first text after \d+\.\d\d s, the end", result.stdout)


def test_what_cannot_be_is_said_plainly(
    fake_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        load.main(["--requests", "10001"])
    assert "got 10001; expected 1 to 10000" in capsys.readouterr().err
    wrong = ["--protocol", "mistral", "--model", "none", "--url", fake_server.http_url]
    assert warmup.main(wrong) == 1
    assert capsys.readouterr().err == "refused: 404 model_not_found\n"


def test_a_key_goes_along(serve_here: ServeHere, capsys: pytest.CaptureFixture[str]) -> None:
    key = "only-for-this-test-0123456789abcdef"
    server = serve_here(auth={"mode": "key", "key": key})
    arguments = ["--requests", "1", "--protocol", "yap", "--url", server.http_url]
    assert load.main(arguments) == 1
    assert "failed: 1 times authentication_failed" in capsys.readouterr().out
    assert load.main([*arguments, "--api-key", key]) == 0


def test_percentiles_lie_between_the_values() -> None:
    assert load.percentiles([3.0]) == (3.0, 3.0)
    assert load.percentiles([float(value) for value in range(101)]) == (50.0, 95.0)
