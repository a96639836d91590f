"""docs/asyncapi.yaml is AsyncAPI, says what it means, and says what the server does."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanscribe import PROJECT_DIR
from lanscribe.dialects import WEBSOCKET_PATHS
from lanscribe.dialects.events import Failure
from lanscribe.dialects.vllm import VllmDialect
from lanscribe.errors import CODES, LanscribeError, ProtocolError
from tests.contract import Broken, contract, document, schema_validator
from tests.fuzz.talk import channels

SPECS = "@asyncapi/specs@6.11.1"
SPECS_SHA512 = (
    "A3WBLqAKGoJ2+6FWFtpjBlCQ1oFCcs4GxF7zsIGvNqp/klGUHjlA3aAcZ9XMMpLGE8zPeYDz2x9FmO6DSuKraQ=="
)
MESSAGES = document()["components"]["messages"]
NOT_IN_A_WEBSOCKET = {
    "config_invalid",
    "message_too_large",
    *("invalid_request", "invalid_file", "upload_too_large", "storage_full"),
    *("not_found", "method_not_allowed", "too_many_guesses", "upload_too_slow"),
}
"""Of the command line, of Wyoming, of HTTP."""


@pytest.fixture(scope="module")
def asyncapi_schema() -> Any:
    """AsyncAPI's own schema of its documents, out of npm; kept in .cache."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here to fetch AsyncAPI's schema with")
    folder = PROJECT_DIR / ".cache/asyncapi"
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "asyncapi-specs-6.11.1.tgz"
    if not package.exists():
        subprocess.run([npm, "pack", SPECS], cwd=folder, check=True, capture_output=True)
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    assert digest == SPECS_SHA512
    return _member(package, "package/schemas/3.0.0-without-$id.json")


def _member(package: Path, name: str) -> Any:
    with tarfile.open(package) as archive:
        content = archive.extractfile(name)
        assert content is not None
        with content:
            return json.load(content)


def test_the_document_is_asyncapi(asyncapi_schema: Any) -> None:
    errors = list(jsonschema_rs.Draft7Validator(asyncapi_schema).iter_errors(document()))
    assert not errors, errors[0]


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    if isinstance(node, list):
        return [found for value in node for found in references(value)]
    return []


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    used = set(references(document()))
    for reference in used:
        node = document()
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    components = document()["components"]
    defined = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    assert defined <= used


@pytest.mark.parametrize("name", MESSAGES)
def test_every_example_is_what_its_schema_says(name: str) -> None:
    message = MESSAGES[name]
    validator = schema_validator(message["payload"], document())
    examples = [example["payload"] for example in message.get("examples", [])]
    assert examples or message.get("contentType") == "application/octet-stream"
    for example in examples:
        assert not [error.message for error in validator.iter_errors(example)]


def test_what_the_server_sends_is_closed_and_what_clients_send_is_open() -> None:
    for operation in document()["operations"].values():
        is_sent = operation["action"] == "send"
        for reference in operation["messages"]:
            channel, _, name = reference["$ref"].removeprefix("#/channels/").split("/")
            component = document()["channels"][channel]["messages"][name]["$ref"].rpartition("/")[2]
            payload = MESSAGES[component]["payload"]
            assert ("additionalProperties" in payload) is is_sent, component


def test_every_message_of_a_channel_is_in_one_operation() -> None:
    in_operations = [
        reference["$ref"]
        for operation in document()["operations"].values()
        for reference in operation["messages"]
    ]
    assert len(in_operations) == len(set(in_operations))
    assert set(in_operations) == {
        f"#/channels/{channel}/messages/{name}"
        for channel, content in document()["channels"].items()
        for name in content["messages"]
    }


def test_every_path_is_in_the_document() -> None:
    channels = document()["channels"].values()
    paths = {channel["address"] for channel in channels}
    paths |= {path for channel in channels for path in channel.get("x-also-at", [])}
    assert paths == set(WEBSOCKET_PATHS)


def test_the_codes_are_those_of_the_error_tree() -> None:
    listed = document()["components"]["schemas"]["Code"]["enum"]
    assert set(listed) == set(CODES) - NOT_IN_A_WEBSOCKET


@pytest.mark.parametrize("code", sorted(set(CODES) - NOT_IN_A_WEBSOCKET))
@pytest.mark.parametrize("query", [{}, {"intent": "transcription"}], ids=str)
@pytest.mark.parametrize("path", WEBSOCKET_PATHS)
def test_every_error_can_be_told_in_every_protocol(
    path: str, query: dict[str, str], code: str
) -> None:
    failure = Failure(LanscribeError(code, "message"))
    (message,) = WEBSOCKET_PATHS[path](None, query).encode(failure)
    assert any(contract(channel).allows("server", message) for channel in channels(path))


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"transcription.delta","delta":"a","end_s":1,"lag_s":0,"seq":1,"more":1}',
        '{"type":"transcription.delta","delta":"a","end_s":1,"lag_s":0}',
        '{"type":"transcription.delta","delta":"a","end_s":-1,"lag_s":0,"seq":1}',
        '{"type":"error","error":"no","code":"made_up","seq":1}',
        '{"type":"session.update","model":"m"}',
        '{"type":"surprise"}',
        "no json",
        b"binary",
    ],
)
def test_a_server_that_says_something_else_is_noticed(message: str | bytes) -> None:
    with pytest.raises(Broken):
        contract("vllm").check("server", message)


VALUES = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        7,
        2**53 - 1,
        2**53,
        2**70,
        1.5,
        "",
        "m",
        "AQD+/wMA",
        "\ud800",
        [],
        ["m"],
        {},
        {"m": 1},
    ]
)
SHAPE_CODES = {"invalid_json", "invalid_event", "unknown_event"}


@given(
    st.sampled_from(sorted(contract("vllm").kinds["client"] | {"other"})),
    st.dictionaries(st.sampled_from(["model", "audio", "final", "resume", "seen", "x"]), VALUES),
)
def test_the_server_takes_what_the_contract_allows_and_nothing_else(
    kind: str, fields: dict[str, object]
) -> None:
    message = json.dumps({**fields, "type": kind})
    try:
        VllmDialect().decode(message)
    except ProtocolError as error:
        refusal = error.code
    else:
        refusal = ""
    if refusal != "invalid_audio":  # whether audio is audio, no schema can tell
        assert contract("vllm").allows("client", message) == (refusal not in SHAPE_CODES), refusal
