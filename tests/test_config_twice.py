"""Settings and tables that are there twice in one file."""

from pathlib import Path

import pytest

from lanscribe.admin.sources import load
from lanscribe.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tls]\n[server]\n[tls]", "line 3: [tls] is"),
        ("[auth]\nkey = 'a-key-of-the-house'\nkey = 'another-of-the-house'\n", "line 3: key is"),
    ],
)
def test_the_line_is_named_and_no_value_is_shown(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "test.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file=file)
    message = caught.value.public_message
    assert f"{told} there a second time; keep one of them" in message
    assert "of-the-house" not in message
