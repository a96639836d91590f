"""No row of bytes over TCP is answered by silence, a traceback or another's request."""

from tests.fuzz.wire import talk
from tests.servers import Server

SEEDS = 200


def test_no_row_of_bytes_breaks_the_server(fake_server: Server) -> None:
    for seed in range(SEEDS):
        talk(fake_server, seed)
        assert "Traceback" not in fake_server.log, f"seed {seed}"
