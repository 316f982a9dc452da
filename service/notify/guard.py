"""Where messages may go: public addresses, and private networks that the operator has named.

Whoever may register a webhook could otherwise have this service reach into its own network (server-side request
forgery). The address is checked each time before connecting, and the connection goes to the address that was
checked, so that a name that changes its meaning in between (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class Forbidden(Exception):
    """The address is not one that messages may go to."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides on addresses.

    Attributes:
        networks: private networks that are allowed all the same.
    """

    networks: Sequence[Network] = ()

    def check_url(self, url: str) -> None:
        """Refuse what is no plain http(s) address of an allowed host.

        Raises:
            Forbidden: it is not.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Forbidden from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise Forbidden
        self.resolve(parts.hostname, port or (443 if parts.scheme == "https" else 80))

    def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, if all of them are allowed.

        Raises:
            Forbidden: one of them is not.
            OSError: the name cannot be resolved.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(self._allows(ipaddress.ip_address(address.partition("%")[0])) for address in addresses):
            raise Forbidden
        return addresses

    def _allows(self, address: Address) -> bool:
        address = _plain(address)
        if any(address in network for network in self.networks):
            return True
        return address.is_global and not address.is_multicast


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
