"""Which addresses of another system may be called: https, and on the internet. Source: CoursePro, F; R69, R71.

An address comes from a person and is called from inside our network, so what it leads to is judged twice: as it is
written when it is entered, and as it is resolved when it is called.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from models.rules.refusals import Code, Refusal

LONGEST = 2000
HTTPS_PORT, FIRST_FREE_PORT = 443, 1024
# The visible characters an address is written with; none of them is read differently by two programs.
_WRITTEN = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Last labels that no name of the internet has, and the one that turns a name into an address of a machine.
INSIDE = frozenset({"arpa", "corp", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain"}) | {
    "localhost", "onion", "private"
}  # fmt: skip
_INTERNET6 = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
# Beside what `ipaddress` calls not global, which differs between its versions: protocols, tunnels, documentation.
_NOBODYS4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_NOBODYS6 = (IPv6Network("2001::/23"), IPv6Network("2002::/16"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))


def check_address(url: str, *, local: bool, field: tuple[str, ...], only: frozenset[str] = frozenset()) -> None:
    """Refuse an address that must not be called (ADDRESS_NOT_ALLOWED), see `wrong_with`. Source: R71."""
    if fault := wrong_with(url, local=local, only=only):
        raise Refusal(Code.ADDRESS_NOT_ALLOWED, fault, field=field)


def wrong_with(url: str, *, local: bool, only: frozenset[str] = frozenset()) -> str | None:
    """An address as it is written -> what is wrong with it, in a sentence; None where it may be called.

    `local`: http and https to a loopback address or `localhost`, whatever the port, are allowed too. `only` names the
    hosts of a system that is nowhere else.
    """
    if len(url) > LONGEST or not _WRITTEN.fullmatch(url):
        return "An address has no spaces, fragments or characters beyond ASCII."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "It is no web address."
    if "@" in parts.netloc:
        return "An address carries no user name or password."
    if local and parts.scheme in ("http", "https") and _here(host, _literal(host)):
        return None
    if only and host not in only:
        return f"{host} is none of {', '.join(sorted(only))}."
    if only and parts.path.strip("/"):
        return f"The API of {host} has no path."  # a vendor's library may drop one silently
    return _wrong_at(parts, host, port)


def _wrong_at(parts: SplitResult, host: str, port: int | None) -> str | None:
    literal = _literal(host)
    if parts.scheme != "https":
        return "It must begin with https://."
    if port not in (None, HTTPS_PORT) and (port or 0) < FIRST_FREE_PORT:
        return f"Port {port} is not {HTTPS_PORT} and not {FIRST_FREE_PORT} or above."
    if literal is not None:
        return None if public(literal) else f"{host} is not on the internet."
    return _wrong_name(host)


def _wrong_name(host: str) -> str | None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return f"{host!r} is no name of a host."
    # A last label of digits would be read as an IPv4 address written another way: 127.1, 0x7f.1, 2130706433.
    if _NUMBER.fullmatch(labels[-1]):
        return f"{host} is an address that is written unusually."
    if len(labels) == 1 or labels[-1] in INSIDE:
        return f"{host} is a name of an inside network."
    return None


def public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one machine's on the internet: not private, loopback, link-local, shared, multicast, ...

    An IPv6 address that stands for an IPv4 one is judged as that one; what a tunnel leads to is not judged but refused.
    """
    if isinstance(address, IPv4Address):
        nobodys = address.is_multicast or address.is_reserved or any(address in each for each in _NOBODYS4)
        return address.is_global and not nobodys
    if address.ipv4_mapped is not None:
        return public(address.ipv4_mapped)
    if address in _TRANSLATED:
        return public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _INTERNET6 and address.is_global and not any(address in each for each in _NOBODYS6)


def reachable(address: str, *, local: bool) -> bool:
    """An IP address a name was resolved to -> whether it may be connected to; `local` lets loopback in."""
    found = _literal(address.partition("%")[0])
    return found is not None and (public(found) or (local and _here(address, found)))


def _here(host: str, literal: IPv4Address | IPv6Address | None) -> bool:
    return host == "localhost" or (literal is not None and literal.is_loopback)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
