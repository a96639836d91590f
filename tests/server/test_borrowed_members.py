"""The undocumented members of uvicorn, websockets and asyncio that the transport overrides or uses.

An update that takes one away fails here, and the failure says which one and what it was for.
"""

import ast
import inspect
import re
import sys
import textwrap
from asyncio.sslproto import SSLProtocol
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from lanscribe.server import http_protocol, tls_turns, transport, websocket_protocol

PROTOCOL = "config, server_state, app_state, _loop"
SERVER_PROTOCOL = "origins, extensions, subprotocols, select_subprotocol, state, max_size, logger"
TLS_PROTOCOL = (
    "loop, app_protocol, sslcontext, waiter, server_side, server_hostname, call_connection_made, "
    "ssl_handshake_timeout, ssl_shutdown_timeout"
)


@dataclass(frozen=True)
class Borrowed:
    """A member of a class that is not ours."""

    owner: type
    name: str
    parameters: str | None
    """Their names; None for an attribute."""
    need: str
    is_hook: bool = False
    """Whether the library itself has to call it, because we override it."""

    def __str__(self) -> str:
        return f"{self.owner.__module__}.{self.owner.__name__}.{self.name}"

    @property
    def gone(self) -> str:
        """What to say when it is not there as we need it."""
        kind = "an attribute" if self.parameters is None else f"a method ({self.parameters})"
        return f"{self} is no longer there as {kind}; we need it {self.need}"


def hook(owner: type, name: str, parameters: str, need: str) -> Borrowed:
    return Borrowed(owner, name, parameters, need, is_hook=True)


BORROWED = [
    Borrowed(H11Protocol, "__init__", PROTOCOL, "to make one behind TLS, and to add an intake"),
    Borrowed(H11Protocol, "connection_made", "transport", "to count connections"),
    Borrowed(H11Protocol, "connection_lost", "exc", "to let the next one in"),
    Borrowed(H11Protocol, "data_received", "data", "to parse by turns instead"),
    hook(H11Protocol, "handle_events", "", "to parse some events in a turn, after a pause too"),
    hook(H11Protocol, "_get_upgrade", "", "to see every Connection line of a handshake"),
    hook(H11Protocol, "handle_websocket_upgrade", "event", "to pass on what came right behind"),
    hook(H11Protocol, "send_400_response", "msg", "to answer nonsense in our shape"),
    hook(H11Protocol, "on_response_complete", "", "to wait for the next request"),
    Borrowed(H11Protocol, "_unset_keepalive_if_required", "", "because data_received is ours"),
    Borrowed(H11Protocol, "conn", None, "to put a metered h11 there"),
    Borrowed(H11Protocol, "flow", None, "to put a paced flow there"),
    Borrowed(H11Protocol, "cycle", None, "to see whether a request is under way"),
    Borrowed(H11Protocol, "transport", None, "to drop the connection"),
    Borrowed(H11Protocol, "connections", None, "to count a TLS handshake as a connection"),
    Borrowed(H11Protocol, "client", None, "to pace by address"),
    Borrowed(H11Protocol, "headers", None, "to see whether a WebSocket is asked for"),
    Borrowed(H11Protocol, "scope", None, "to see the version of HTTP"),
    Borrowed(H11Protocol, "loop", None, "to set timers"),
    Borrowed(RequestResponseCycle, "response_started", None, "to see who is only sending a rest"),
    Borrowed(RequestResponseCycle, "response_complete", None, "to see who is idle"),
    Borrowed(RequestResponseCycle, "disconnected", None, "to end a request that became nonsense"),
    Borrowed(RequestResponseCycle, "message_event", None, "to wake a request that is to end"),
    Borrowed(FlowControl, "__init__", "transport", "to make a paced one"),
    hook(FlowControl, "resume_reading", "", "to read on only when the pace allows it too"),
    Borrowed(FlowControl, "pause_reading", "", "because it is what sets read_paused"),
    Borrowed(FlowControl, "read_paused", None, "to see whether uvicorn waits"),
    Borrowed(FlowControl, "_transport", None, "to pause reading"),
    Borrowed(WebSocketsSansIOProtocol, "__init__", PROTOCOL, "to add an intake"),
    Borrowed(WebSocketsSansIOProtocol, "connection_lost", "exc", "to let the next one in"),
    Borrowed(WebSocketsSansIOProtocol, "data_received", "data", "to parse by turns instead"),
    Borrowed(WebSocketsSansIOProtocol, "handle_events", "", "to parse in a turn"),
    hook(WebSocketsSansIOProtocol, "handle_text", "event", "to join the pieces of a message"),
    hook(WebSocketsSansIOProtocol, "handle_bytes", "event", "to join the pieces of a message"),
    hook(WebSocketsSansIOProtocol, "handle_cont", "event", "to join the pieces of a message"),
    hook(WebSocketsSansIOProtocol, "handle_parser_exception", "", "to let the peer read why"),
    hook(WebSocketsSansIOProtocol, "on_task_complete", "task", "to bound the wait for the peer"),
    hook(WebSocketsSansIOProtocol, "receive", "", "to read on when a message was taken"),
    hook(WebSocketsSansIOProtocol, "send", "message", "to listen to little after a close"),
    hook(WebSocketsSansIOProtocol, "start_keepalive", "", "to ping after a silence"),
    hook(WebSocketsSansIOProtocol, "stop_keepalive", "", "to ping no more"),
    hook(WebSocketsSansIOProtocol, "shutdown", "", "to end though the peer has begun to close"),
    Borrowed(WebSocketsSansIOProtocol, "ping_timer", None, "to ping no more"),
    Borrowed(WebSocketsSansIOProtocol, "pause_writing", "", "to bound the wait for a reader"),
    Borrowed(WebSocketsSansIOProtocol, "resume_writing", "", "to parse on"),
    Borrowed(WebSocketsSansIOProtocol, "curr_msg_data_type", None, "to see which kind it is"),
    Borrowed(WebSocketsSansIOProtocol, "conn", None, "to put metered rules there"),
    Borrowed(WebSocketsSansIOProtocol, "logger", None, "to let those rules log"),
    Borrowed(WebSocketsSansIOProtocol, "queue", None, "to see whether a message is taken"),
    Borrowed(WebSocketsSansIOProtocol, "read_paused", None, "to see whether it is read"),
    Borrowed(WebSocketsSansIOProtocol, "writable", None, "to see whether the peer reads"),
    Borrowed(WebSocketsSansIOProtocol, "handshake_initiated", None, "to see a head refused"),
    Borrowed(WebSocketsSansIOProtocol, "handshake_complete", None, "to end a refusal quietly"),
    Borrowed(WebSocketsSansIOProtocol, "disconnected", None, "to parse no more"),
    Borrowed(WebSocketsSansIOProtocol, "close_sent", None, "to see whether it is over"),
    Borrowed(WebSocketsSansIOProtocol, "close_timer", None, "to bound the goodbye"),
    Borrowed(WebSocketsSansIOProtocol, "close_timeout", None, "to bound the goodbye"),
    Borrowed(WebSocketsSansIOProtocol, "transport", None, "to drop the connection"),
    Borrowed(WebSocketsSansIOProtocol, "client", None, "to note who was refused"),
    Borrowed(WebSocketsSansIOProtocol, "loop", None, "to set timers"),
    Borrowed(uvicorn.Server, "__init__", "config", "to add a drain and TLS"),
    hook(uvicorn.Server, "startup", "sockets", "to listen over TLS too"),
    hook(uvicorn.Server, "on_tick", "counter", "to drop peers that vanished"),
    hook(uvicorn.Server, "capture_signals", "", "to leave the signals to the program"),
    hook(uvicorn.Server, "shutdown", "sockets", "to drain sessions before it"),
    Borrowed(uvicorn.Server, "config", None, "to make a protocol behind TLS"),
    Borrowed(uvicorn.Server, "server_state", None, "to make a protocol behind TLS"),
    Borrowed(uvicorn.Server, "should_exit", None, "to stop"),
    Borrowed(uvicorn.Server, "force_exit", None, "to stop at once"),
    Borrowed(uvicorn.Server, "lifespan", None, "to make a protocol behind TLS"),
    Borrowed(uvicorn.Server, "servers", None, "to close the listener of TLS with the others"),
    Borrowed(ServerState, "connections", None, "to look who vanished"),
    Borrowed(ServerState, "tasks", None, "to wait for handshakes under way"),
    Borrowed(ServerProtocol, "__init__", SERVER_PROTOCOL, "to add a reader of our own"),
    hook(ServerProtocol, "parse", "", "to parse with a reader of our own"),
    hook(ServerProtocol, "recv_frame", "frame", "to count frames"),
    hook(ServerProtocol, "reject", "status, text", "to refuse in our shape"),
    Borrowed(ServerProtocol, "reader", None, "to stop parsing between two frames"),
    Borrowed(ServerProtocol, "parser", None, "to parse on"),
    Borrowed(ServerProtocol, "parser_exc", None, "to see that the peer broke a rule"),
    Borrowed(ServerProtocol, "max_message_size", None, "to take only little after a close"),
    Borrowed(ServerProtocol, "state", None, "to see whether the handshake is over"),
    Borrowed(ServerProtocol, "close_sent", None, "to tell the session why it ended"),
    Borrowed(StreamReader, "__init__", "", "to count frames"),
    hook(StreamReader, "at_eof", "", "to stop parsing between two frames"),
    Borrowed(StreamReader, "feed_data", "data", "to keep what came for the next turn"),
    Borrowed(StreamReader, "discard", "", "to listen to nothing any more"),
    Borrowed(StreamReader, "buffer", None, "to see whether something is left"),
    Borrowed(SSLProtocol, "__init__", TLS_PROTOCOL, "to make one that takes turns"),
    Borrowed(SSLProtocol, "connection_made", "transport", "to pause what is below"),
    Borrowed(SSLProtocol, "get_buffer", "n", "to look at records that wait"),
    Borrowed(SSLProtocol, "buffer_updated", "nbytes", "to work some records in a turn"),
    Borrowed(SSLProtocol, "max_size", None, "to read less at once"),
    Borrowed(SSLProtocol, "resume_writing", "", "to work on when the peer reads again"),
    hook(SSLProtocol, "_resume_reading", "", "to work on when the data is wanted again"),
    hook(SSLProtocol, "_start_shutdown", "", "to read on to the peer's goodbye"),
    Borrowed(SSLProtocol, "_app_transport", None, "to hand it to the protocol above"),
    Borrowed(SSLProtocol, "_app_reading_paused", None, "to see whether the data is wanted"),
    Borrowed(SSLProtocol, "_ssl_writing_paused", None, "to see whether the peer reads"),
]
OURS = [
    (http_protocol.HttpProtocol, H11Protocol),
    (http_protocol._Flow, FlowControl),
    (websocket_protocol.WebSocketProtocol, WebSocketsSansIOProtocol),
    (websocket_protocol._Metered, ServerProtocol),
    (websocket_protocol._Reader, StreamReader),
    (transport.Server, uvicorn.Server),
    (tls_turns.TlsInTurns, SSLProtocol),
]
"""Our classes, and what they borrow from."""


def library_classes(owner: type) -> list[type]:
    """The owner and its bases that come with the library."""
    packages = {"uvicorn", "websockets", "asyncio"}
    return [base for base in owner.__mro__ if base.__module__.partition(".")[0] in packages]


def attributes(kind: type, context: type[ast.expr_context]) -> set[str]:
    """The attributes of `self` that the code of a class sets (ast.Store) or reads (ast.Load)."""
    return {
        node.attr
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind))))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, context)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    }


@cache
def members(owner: type) -> set[str]:
    """Everything that the library's own code puts into the class or its instances."""
    classes = library_classes(owner)
    return set().union(*(vars(kind).keys() | attributes(kind, ast.Store) for kind in classes))


def method(one: Borrowed) -> Any:
    classes = library_classes(one.owner)
    return next((vars(kind)[one.name] for kind in classes if one.name in vars(kind)), None)


@pytest.mark.parametrize("one", BORROWED, ids=str)
def test_it_is_there_as_we_need_it(one: Borrowed) -> None:
    assert one.name in members(one.owner), one.gone
    if one.parameters is not None:
        found = method(one)
        assert callable(found), one.gone
        parameters = list(inspect.signature(found).parameters)
        assert ", ".join(parameters[1:]) == one.parameters, one.gone


@pytest.mark.parametrize("one", [one for one in BORROWED if one.is_hook], ids=str)
def test_the_library_calls_what_we_override(one: Borrowed) -> None:
    names = {kind.__module__ for _, owner in OURS for kind in library_classes(owner)}
    code = "\n".join(inspect.getsource(sys.modules[name]) for name in names)
    assert re.search(rf"(self|flow|reader|connection|_ssl_protocol)\.{one.name}\b", code), (
        f"nobody calls {one}; we need it {one.need}"
    )


@pytest.mark.parametrize(("ours", "owner"), OURS)
def test_the_list_is_whole(ours: type, owner: type) -> None:
    used = vars(ours).keys() | attributes(ours, ast.Load) | attributes(ours, ast.Store)
    listed = {one.name for one in BORROWED if one.owner is owner}
    of_python = {name for name in used if name.startswith("__")} - {"__init__"}
    assert used & members(owner) - of_python <= listed
