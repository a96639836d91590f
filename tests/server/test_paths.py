import pytest

from lanscribe.server.paths import advice, meant

FILES, LIVE, MODELS = "/v1/audio/transcriptions", "/v1/realtime", "/v1/models"
MISTRAL = "/v1/audio/transcriptions/realtime"
KNOWN = ["/", "/health", "/healthz", "/ws", FILES, LIVE, MODELS, MISTRAL]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("/v1/v1/audio/transcriptions", FILES),
        ("/v1/audio/transcriptions/audio/transcriptions", FILES),
        ("/v1/audio/transcriptions/v1/audio/transcriptions", FILES),
        ("/audio/transcriptions", FILES),
        ("/api/v1/audio/transcriptions", FILES),
        ("/v1/v1/realtime", LIVE),
        ("/v1/realtime/", LIVE),
        ("/v1//realtime", LIVE),
        ("/realtime", LIVE),
        ("/V1/Models", None),
        ("/v1/realtime/models", MODELS),
        ("/audio/transcriptions/realtime", MISTRAL),
        ("/v1/health", "/health"),
        ("/health//", "/health"),
        ("/v1/chat/completions", None),
        ("/", None),
        ("", None),
        ("//", None),
    ],
)
def test_the_longest_end_that_is_there_was_meant(path: str, known: str | None) -> None:
    assert meant(path, KNOWN) == known


def test_the_advice_has_the_base_url_of_an_sdk() -> None:
    origin = "http://box:8000"
    assert advice(MODELS, origin) == (
        "expected http://box:8000/v1/models; the base URL of an SDK is http://box:8000/v1"
    )
    assert advice(LIVE, "wss://box:8443") == (
        "expected wss://box:8443/v1/realtime; the base URL of an SDK is https://box:8443/v1"
    )
    assert advice("/health", origin) == "expected http://box:8000/health"
