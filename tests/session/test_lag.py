"""When a client is told that its text is behind."""

import asyncio

from lanscribe.engines.fake import spoken
from lanscribe.session.lag import LagMeter
from tests.servers import ServeHere
from tests.support import Event, client


def test_a_live_client_is_told_once_when_it_falls_behind_and_once_when_it_is_over() -> None:
    lag = LagMeter(threshold_s=5.0)
    changed = []
    for second in range(1, 9):
        lag.received(second, now_s=100.0 + second)
        changed.append(lag.judge(second))
    assert changed == [*[False] * 5, True, False, False]
    assert not lag.judge(8.0 - 5.0)
    assert lag.is_behind
    assert lag.judge(8.0 - 5.6)
    assert not lag.is_behind
    lag.received(9.0, now_s=109.0)
    assert not lag.judge(9.0 - 5.6)


def test_who_sends_a_recording_is_never_behind() -> None:
    lag = LagMeter(threshold_s=5.0)
    for audio_s, now_s in ((60.0, 100.0), (61.0, 300.0)):
        lag.received(audio_s, now_s)
        assert not lag.judge(audio_s)
        assert not lag.is_live


def test_what_was_kept_while_the_socket_was_broken_is_still_live() -> None:
    lag = LagMeter(threshold_s=5.0)
    lag.received(1.0, now_s=101.0)
    lag.received(30.0, now_s=130.0)
    assert lag.judge(30.0 - 1.0)
    assert lag.is_behind


def test_the_client_sees_the_lag_come_and_go(serve_here: ServeHere) -> None:
    server = serve_here(limits={"lag_s": 0.5})

    async def scenario() -> list[Event]:
        async with client(server.url, "fake-numbers") as one:
            await one.commit(final=False)
            await one.append(spoken(range(1, 19)))
            await one.commit(final=True)
            return await one.until("transcription.done")

    *deltas, _ = asyncio.run(scenario())
    behind = [delta.get("is_behind", False) for delta in deltas]
    lags_s = [delta["lag_s"] for delta in deltas]
    assert behind == sorted(behind, reverse=True)
    assert behind[0]
    assert not behind[-1]
    assert lags_s == sorted(lags_s, reverse=True)
    assert lags_s[-1] == 0.0
