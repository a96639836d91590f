"""Finds a NAME.local that no other machine has, and defends it (RFC 6762, sections 8 and 9)."""

import asyncio
import errno
import logging
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from itertools import islice
from typing import Self, cast

from zeroconf import const
from zeroconf._dns import (  # what zeroconf has at its top, without types
    DNSAddress,
    DNSQuestion,
    DNSRecord,
)
from zeroconf._protocol.incoming import DNSIncoming
from zeroconf._protocol.outgoing import DNSOutgoing

from lanscribe.backoff import Backoff
from lanscribe.identity import local_name
from lanscribe.identity.adapters import adapters_of
from lanscribe.identity.local_name import Answers, full_name

log = logging.getLogger(__name__)

PROBES, PROBE_S = 3, 0.25
"""How often a name is asked for before it is taken, and how long each answer is awaited."""
LATER_S, MOST_DEFEATS = 1.0, 10
"""The pause of a machine that loses to one that probes at the same moment (section 8.2), and how
often it loses before it believes that the other takes the name."""
MOST_NAMES = 15
"""How many names are tried before a pause (section 8.1); then the first one is tried again."""
FREE_LOSSES, PATIENCE = 3, Backoff(first_s=5.0, longest_s=300.0)
"""How often a name is lost without a pause, and the pauses after that."""
OWN_LOOK_S = 1.0
"""The least time from one look at this machine's addresses to the next."""
_GROUPS = {4: const._MDNS_ADDR, 6: const._MDNS_ADDR6}
_LINUX_IP_MULTICAST_ALL = 49
_ADDRESSES = {const._TYPE_A, const._TYPE_AAAA}
"""What zeroconf answers itself for the host of a service, unlike questions for every record."""

Heed = Callable[["Link", DNSIncoming], None]
Clock = Callable[[], float]


class Link(asyncio.DatagramProtocol):
    """One network, heard and spoken to by multicast DNS beside the other responders there.

    addresses: those of this machine on it. Answers are asked for by multicast: port 5353 is shared,
    so an answer to this machine alone may reach another program (RFC 6762, section 15.1).
    """

    def __init__(self, addresses: Sequence[str], heed: Heed, clock: Clock) -> None:
        self.addresses = addresses
        self._heed, self._clock = heed, clock
        self._answers = Answers()
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        """Begin to hear. Raises OSError."""
        loop = asyncio.get_running_loop()
        listener = _socket(self.addresses)
        try:
            await loop.create_datagram_endpoint(lambda: self, sock=listener)
        except BaseException:
            listener.close()
            raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Speak through this one, of datagrams, from now on."""
        self._transport = cast(asyncio.DatagramTransport, transport)

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

    def defend(self, label: str, *, is_probed: bool = False) -> None:
        """Say that this machine has the name, unless it did so a moment ago."""
        if not self._answers.is_due(self._clock(), is_probed=is_probed):
            return
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


class OwnAddresses:
    """Every address of this machine, looked up again before another machine is believed in."""

    def __init__(self, find: Callable[[], Collection[str]], clock: Clock) -> None:
        """find: raises OSError when the system does not list its adapters."""
        self._find, self._clock = find, clock
        self._known: Collection[str] = ()
        self._looked_s = float("-inf")

    def are_left_by(self, theirs: Collection[str]) -> bool:
        """Whether any of these addresses is another machine's, as of the last look."""
        if local_name.is_rival(theirs, self._known) and not self.rest_s():
            self._looked_s = self._clock()
            with suppress(OSError):
                self._known = self._find()
        return local_name.is_rival(theirs, self._known)

    def rest_s(self) -> float:
        """The time until the next look."""
        return max(0.0, self._looked_s + OWN_LOOK_S - self._clock())


class Naming:
    """The name of this machine on its networks: found, then held and defended."""

    def __init__(
        self,
        labels: Callable[[], Iterator[str]],
        networks: Sequence[Sequence[str]],
        own: Callable[[], Collection[str]],
        clock: Clock = time.monotonic,
    ) -> None:
        """labels: begins those to try in turn; own: finds every address of this machine."""
        self._labels, self._own = labels, OwnAddresses(own, clock)
        self.links = [Link(addresses, self._heed, clock) for addresses in networks]
        self._is_held = self._may_pass = False
        self._is_taken = asyncio.Event()
        self._rivals: Collection[str] = ()
        self._losses = 0
        self.is_alone = True
        """Whether no other responder of this program answers with the addresses of the name."""
        self.label = ""
        """The name without its domain; "" before the first one is tried."""

    async def __aenter__(self) -> Self:
        try:
            for link in self.links:
                await link.open()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    async def find(self) -> str:
        """Take the first name that no other machine has; return its label.

        It never goes past MOST_NAMES, so whoever claims every name cannot drive the number up.
        """
        self._is_held = False
        while True:
            await asyncio.sleep(PATIENCE.pause_s(self._losses - FREE_LOSSES))
            for label in islice(self._labels(), MOST_NAMES):
                self.label = label
                if await self._is_got():
                    self._is_held = True
                    return label
                log.info("another machine is %s", full_name(label))
            self._losses = max(self._losses, FREE_LOSSES) + 1
            log.warning("others have all names up to %s: it looks later", full_name(self.label))

    async def lost(self) -> None:
        """Return when another machine has the name too, and this one is to leave it.

        Only if its addresses are not this machine's at a later look either: several may come within
        a second, as when an adapter joins a network, and Avahi answers with each at once.
        """
        while True:
            await self._is_taken.wait()
            self._is_taken.clear()
            await asyncio.sleep(self._own.rest_s())
            if self._own.are_left_by(self._rivals):
                break
        log.warning("another machine is %s too: this one takes another", full_name(self.label))
        self._is_held = False
        self._losses += 1

    def settle(self) -> None:
        """The name was held for a while: forget how often one was lost before."""
        self._losses = 0

    def look(self) -> None:
        """Ask who else has the name: networks that were apart may have been joined."""
        for link in self.links:
            link.ask(self.label, probes=False)

    async def _is_got(self) -> bool:
        """Probe until the name is free or another machine says that it has it."""
        defeats = 0
        while not await self._is_free():
            if not self._may_pass or defeats == MOST_DEFEATS:
                return False
            defeats += 1
            await asyncio.sleep(LATER_S * (1 + defeats * random.random()))
        return True

    async def _is_free(self) -> bool:
        """Probe. A simultaneous probe that wins may still pass, so its name is tried again."""
        self._is_taken.clear()
        self._may_pass = False
        await asyncio.sleep(PROBE_S * random.random())
        for _ in range(PROBES):
            for link in self.links:
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
        is_rival = self._own.are_left_by(theirs)
        if not message.is_query():
            if is_rival:
                self._contest(link, theirs)
        elif self._is_held:
            kinds = {one.type for one in message.questions if one.name.lower() == name}
            if const._TYPE_ANY in kinds or (self.is_alone and kinds & _ADDRESSES):
                link.defend(self.label, is_probed=message.num_authorities > 0)
        elif is_rival and local_name.loses(link.addresses, theirs):
            self._may_pass = True
            self._is_taken.set()

    def _contest(self, link: Link, theirs: Collection[str]) -> None:
        """Another machine has the name. Of two that hold it, the one with lower addresses goes."""
        if not self._is_held or local_name.loses(link.addresses, theirs):
            self._may_pass, self._rivals = False, theirs
            self._is_taken.set()
        else:
            link.defend(self.label)

    def _close(self) -> None:
        for link in self.links:
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
