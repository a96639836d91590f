"""What a server is bounded by: the settings, and what only a test changes."""

from lanscribe.config import LimitSettings
from lanscribe.session.bounds import Bounds


def test_the_settings_are_taken_over_and_the_rest_has_its_default() -> None:
    bounds = Bounds.of(LimitSettings(connections=7, lag_s=2.5))
    assert (bounds.connections, bounds.lag_s) == (7, 2.5)
    assert bounds.handshake_timeout_s == Bounds().handshake_timeout_s
    assert bounds.model_dump().keys() > LimitSettings().model_dump().keys()


def test_bounds_stay_what_they_are() -> None:
    bounds = Bounds(handshake_timeout_s=0.3)
    assert Bounds.of(bounds) is bounds
