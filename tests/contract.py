"""docs/asyncapi.yaml as something that holds: is this message one that may pass?"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

import jsonschema_rs
import yaml  # type: ignore[import-untyped]

from lanscribe import PROJECT_DIR
from lanscribe.dialects.events import Message

Sender = Literal["client", "server"]
_ACTION: Mapping[Sender, str] = {"client": "receive", "server": "send"}


class Broken(AssertionError):
    """A message is not what docs/asyncapi.yaml says it is."""


class Contract:
    """What may pass over one channel of the document, in either direction."""

    def __init__(self, document: dict[str, Any], channel: str) -> None:
        self.channel = channel
        self._document = document
        self._messages = {sender: self._messages_of(sender) for sender in _ACTION}

    def check(self, sender: Sender, message: Message) -> None:
        """Raises Broken for what `sender` may not say."""
        kind = _kind_of(message)
        validators = self._messages[sender].get(kind)
        if validators is None:
            raise Broken(f"{self.channel}: the {sender} may not send {kind!r}: {message!r:.500}")
        if isinstance(message, str):
            content = _unicode(json.loads(message))
            if not any(validator.is_valid(content) for validator in validators):
                for error in validators[0].iter_errors(content):
                    where = ".".join(str(step) for step in error.instance_path)
                    raise Broken(f"{self.channel}: {kind} {where}: {error.message}: {message:.500}")

    def allows(self, sender: Sender, message: Message) -> bool:
        """Whether `sender` may say it."""
        try:
            self.check(sender, message)
        except Broken:
            return False
        return True

    @property
    def kinds(self) -> dict[Sender, set[str]]:
        """The types of the messages of either side; "" for a binary frame."""
        return {sender: set(messages) for sender, messages in self._messages.items()}

    def _messages_of(self, sender: Sender) -> dict[str, list[jsonschema_rs.Draft7Validator]]:
        """Of each type the forms that it may have."""
        messages: dict[str, list[jsonschema_rs.Draft7Validator]] = {}
        for operation in self._document["operations"].values():
            if (
                _name(operation["channel"]) == self.channel
                and operation["action"] == _ACTION[sender]
            ):
                for reference in operation["messages"]:
                    payload = self._message(_name(reference))["payload"]
                    kind = payload.get("properties", {}).get("type", {}).get("const", "")
                    messages.setdefault(kind, []).append(schema_validator(payload, self._document))
        return messages

    def _message(self, name: str) -> dict[str, Any]:
        reference = self._document["channels"][self.channel]["messages"][name]
        message: dict[str, Any] = self._document["components"]["messages"][_name(reference)]
        return message


def schema_validator(
    schema: dict[str, Any], document: dict[str, Any]
) -> jsonschema_rs.Draft7Validator:
    """A validator of a schema whose references lead into the document."""
    return jsonschema_rs.Draft7Validator({"allOf": [schema], "components": document["components"]})


@cache
def document() -> dict[str, Any]:
    """docs/asyncapi.yaml."""
    text = (PROJECT_DIR / "docs/asyncapi.yaml").read_text(encoding="utf-8")
    content = yaml.load(text, yaml.CSafeLoader)
    assert isinstance(content, dict)
    return content


@cache
def contract(channel: str) -> Contract:
    """The contract of a channel, such as "vllm"."""
    return Contract(document(), channel)


def received(channel: str, message: Message) -> dict[str, Any]:
    """A message of the server, as JSON. Raises Broken when the contract has it not."""
    contract(channel).check("server", message)
    event = json.loads(message)
    assert isinstance(event, dict)
    return event


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _kind_of(message: Message) -> str:
    if isinstance(message, bytes):
        return ""
    try:
        content = json.loads(message)
    except ValueError:
        return "no JSON"
    kind = content.get("type") if isinstance(content, dict) else None
    return kind if isinstance(kind, str) else "no type"


def _unicode(value: Any) -> Any:
    """JSON may escape half a surrogate pair, which the validator cannot take."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_unicode(name): _unicode(inner) for name, inner in value.items()}
    return [_unicode(inner) for inner in value] if isinstance(value, list) else value
