"""Finds a NAME.local that no other machine has, and defends it (RFC 6762, sections 8 and 9)."""

import asyncio
import errno
import logging
import random
import socket
import struct
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import Self

from zeroconf import const
from zeroconf._dns import (  # what zeroconf has at its top, without types
    DNSAddress,
    DNSQuestion,
    DNSRecord,
)
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

from lanscribe.identity import local_name
from lanscribe.identity.adapters import adapters_of
from lanscribe.identity.local_name import full_name

log = logging.getLogger(__name__)

PROBES, PROBE_S = 3, 0.25
"""How often a name is asked for before it is taken, and how long each answer is awaited."""
_LATER_S = 1.0
"""The pause of a machine that loses to one that probes at the same moment (section 8.2)."""
_MANY, _MANY_PAUSE_S = 15, 5.0
"""How many names of others are tried without a pause, and the pause after each further one."""
_GROUPS = {4: const._MDNS_ADDR, 6: const._MDNS_ADDR6}
_LINUX_IP_MULTICAST_ALL = 49
_ADDRESSES = {const._TYPE_A, const._TYPE_AAAA}
"""What zeroconf answers itself for the host of a service, unlike questions for every record."""

Heed = Callable[["Link", DNSIncoming], None]


class Link(asyncio.DatagramProtocol):
    """One network, heard and spoken to by multicast DNS beside the other responders there.

    addresses: those of this machine on it. Answers are asked for by multicast: port 5353 is shared,
    so an answer to this machine alone may reach another program (RFC 6762, section 15.1).
    """

    def __init__(self, addresses: Sequence[str], heed: Heed) -> None:
        self.addresses = addresses
        self._heed = heed
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Begin to hear. Raises OSError."""
        loop = asyncio.get_running_loop()
        listener = _socket(self.addresses)
        try:
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listener)
        except BaseException:
            listener.close()
            raise

    def close(self) -> None:
        """Hear no more."""
        if self._transport:
            self._transport.abort()

    def ask(self, label: str, *, probes: bool) -> None:
        """Ask who has the name; a probe says with which addresses this machine would take it."""
        out = DNSOutgoing(const._FLAGS_QR_QUERY)
        out.add_question(DNSQuestion(f"{full_name(label)}.", const._TYPE_ANY, const._CLASS_IN))
        if probes:  # its add_authorative_answer takes pointers only
            authorities: list[DNSRecord] = out.authorities  # type: ignore[assignment]
            authorities.extend(self._records(label))
        self._send(out)

    def defend(self, label: str) -> None:
        """Say that this machine has the name."""
        out = DNSOutgoing(const._FLAGS_QR_RESPONSE | const._FLAGS_AA)
        for record in self._records(label):
            out.add_answer_at_time(record, 0)
        self._send(out)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        """Hand on a message that can be read."""
        message = DNSIncoming(data)
        if message.valid:
            self._heed(self, message)

    def error_received(self, exc: Exception) -> None:
        """The network may be away for a while; the next question tells."""

    def _send(self, out: DNSOutgoing) -> None:
        version = 6 if all(":" in address for address in self.addresses) else 4
        for packet in out.packets():
            if self._transport and not self._transport.is_closing():
                self._transport.sendto(packet, (_GROUPS[version], const._MDNS_PORT))

    def _records(self, label: str) -> Iterator[DNSAddress]:
        for address in self.addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            kind = const._TYPE_AAAA if ":" in address else const._TYPE_A
            packed = socket.inet_pton(family, address)
            unique = const._CLASS_IN | const._CLASS_UNIQUE
            yield DNSAddress(f"{full_name(label)}.", kind, unique, const._DNS_HOST_TTL, packed)


class Naming:
    """The name of this machine on its networks: found, then held and defended."""

    def __init__(
        self, labels: Iterator[str], networks: Sequence[Sequence[str]], own: Collection[str]
    ) -> None:
        """labels: to try in turn, without an end; own: every address of this machine."""
        self._labels, self._own = labels, own
        self._links = [Link(addresses, self._heed) for addresses in networks]
        self._is_held = self._may_pass = False
        self._is_taken = asyncio.Event()
        self.is_alone = True
        """Whether no other responder of this program answers with the addresses of the name."""
        self.label = ""
        """The name without its domain; "" before the first one is tried."""

    async def __aenter__(self) -> Self:
        try:
            for link in self._links:
                await link.open()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    async def find(self) -> str:
        """Take the first name that no other machine has; return its label."""
        self._is_held = False
        self.label = self.label or next(self._labels)
        defeats = taken = 0
        while not await self._is_free():
            if self._may_pass:
                defeats += 1
                await asyncio.sleep(_LATER_S + defeats * random.random())
                continue
            log.info("another machine is %s", full_name(self.label))
            self.label = next(self._labels)
            taken += 1
            await asyncio.sleep(_MANY_PAUSE_S if taken > _MANY else 0)
        self._is_held = True
        return self.label

    async def lost(self) -> None:
        """Return when another machine has the name too, and this one is to leave it."""
        await self._is_taken.wait()
        log.warning("another machine is %s too: this one takes another", full_name(self.label))
        self._is_held = False
        self.label = next(self._labels)

    def look(self) -> None:
        """Ask who else has the name: networks that were apart may have been joined."""
        for link in self._links:
            link.ask(self.label, probes=False)

    async def _is_free(self) -> bool:
        """Probe. A simultaneous probe that wins may still pass, so its name is tried again."""
        self._is_taken.clear()
        self._may_pass = False
        await asyncio.sleep(PROBE_S * random.random())
        for _ in range(PROBES):
            for link in self._links:
                link.ask(self.label, probes=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await self._is_taken.wait()
                return False
        return True

    def _heed(self, link: Link, message: DNSIncoming) -> None:
        """Answer questions for the name while it is held; note who else has it or wants it."""
        name = f"{full_name(self.label)}.".lower()
        theirs = [
            str(ip_address(record.address))
            for record in message.answers()
            if isinstance(record, DNSAddress) and record.name.lower() == name and record.ttl
        ]
        is_rival = local_name.is_rival(theirs, self._own)
        if not message.is_query():
            if is_rival:
                self._contest(link, theirs)
        elif self._is_held:
            kinds = {one.type for one in message.questions if one.name.lower() == name}
            if const._TYPE_ANY in kinds or (self.is_alone and kinds & _ADDRESSES):
                link.defend(self.label)
        elif is_rival and local_name.loses(link.addresses, theirs):
            self._may_pass = True
            self._is_taken.set()

    def _contest(self, link: Link, theirs: Collection[str]) -> None:
        """Another machine has the name. Of two that hold it, the one with lower addresses goes."""
        if not self._is_held or local_name.loses(link.addresses, theirs):
            self._may_pass = False
            self._is_taken.set()
        else:
            link.defend(self.label)

    def _close(self) -> None:
        for link in self._links:
            link.close()


def _socket(addresses: Sequence[str]) -> socket.socket:
    """A socket that hears the network of these addresses, and no other. Raises OSError."""
    ipv4 = [address for address in addresses if ":" not in address]
    found = socket.socket(socket.AF_INET if ipv4 else socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        found.setblocking(False)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        hear_one_network(found, addresses)
        if ipv4:
            _join_ipv4(found, ipv4)
        else:
            _join_ipv6(found, addresses[0])
        found.bind(("", const._MDNS_PORT))
    except BaseException:
        found.close()
        raise
    return found


def hear_one_network(listener: socket.socket, addresses: Collection[str]) -> None:
    """Let a socket hear only the network of these addresses of this machine.

    Else Linux gives it what other sockets have joined on other networks, and with IPv6 also what
    itself has joined on one of them (IP_MULTICAST_ALL in ip(7)).
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):  # an IPv6 socket may hear IPv4 too
        listener.setsockopt(socket.IPPROTO_IP, _LINUX_IP_MULTICAST_ALL, 0)
    adapters = adapters_of(addresses)
    if len(adapters) == 1:
        with suppress(PermissionError):  # before Linux 5.7
            device = adapters[0].name.encode()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)


def _join_ipv4(found: socket.socket, addresses: Sequence[str]) -> None:
    for address in addresses:
        group = socket.inet_aton(const._MDNS_ADDR) + socket.inet_aton(address)
        with suppress_in_use():
            found.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    own = socket.inet_aton(addresses[0])
    found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
    found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    found.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)


def _join_ipv6(found: socket.socket, address: str) -> None:
    (adapter,) = adapters_of([address])
    index = adapter.index or 0
    group = socket.inet_pton(socket.AF_INET6, const._MDNS_ADDR6) + struct.pack("@I", index)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)


@contextmanager
def suppress_in_use() -> Iterator[None]:
    """Two addresses of one adapter need one membership only."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
