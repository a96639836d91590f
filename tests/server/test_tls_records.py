"""The ends of TLS records, however the stream is cut."""

import random

import pytest

from lanscribe.server.tls_records import Records


def record(length: int) -> bytes:
    return b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)


@pytest.mark.parametrize("seed", range(20))
def test_each_step_ends_with_the_last_record_it_may_pass(seed: int) -> None:
    rng = random.Random(seed)
    records = [record(rng.choice((0, 1, 18, 300, 16_401))) for _ in range(50)]
    most = rng.randrange(1, 5)
    steps = [b"".join(records[at : at + most]) for at in range(0, len(records), most)]
    seen = Records()
    data = b"".join(records)
    for step in steps:
        assert seen.advance(memoryview(data), most) == len(step), f"seed {seed}"
        data = data[len(step) :]
    assert seen.advance(data, most) == 0


@pytest.mark.parametrize("seed", range(20))
def test_a_record_that_arrives_in_pieces_is_one(seed: int) -> None:
    rng = random.Random(seed)
    data = b"".join(record(rng.choice((0, 1, 18, 300))) for _ in range(10))
    seen, at = Records(), 0
    while at < len(data):
        piece = data[at : at + rng.randrange(1, 8)]
        passed = seen.advance(piece, 10)
        assert passed == len(piece), f"seed {seed}"
        at += passed
    assert seen.advance(record(7) + b"\x17", 1) == 12
