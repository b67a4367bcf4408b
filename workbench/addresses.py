"""Addresses of servers: how they are written in the settings, and what is said of one that is none."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import parse_qsl, urlsplit

from workbench.errors import SettingsError

__all__ = ["STORE_SCHEMES", "http_address", "masked", "store_address"]

STORE_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys", "redis+cluster", "rediss+cluster")
"""What an address begins with; valkey:// is redis://, `s` is TLS, +cluster asks one node for all the others."""

_QUERY = ("db", "username", "password", "protocol", "client_name", "socket_timeout", "socket_connect_timeout")


def http_address(text: str, by: str, kind: str = "") -> str:
    """A base address without a trailing slash; a bare host gets http://. `by`: the setting, for the SettingsError.

    Kind ollama follows OLLAMA_HOST: without http:// or https:// the port is 11434 unless there is one, and a server's
    "every interface" (no host, 0.0.0.0, [::]) is this machine to its clients.
    """
    scheme, marked, rest = text.strip().partition("://")
    if not marked:
        scheme, rest = "http", text.strip()
    end = re.search(r"[/?#]", rest)
    authority, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in authority:
        raise SettingsError(
            f"{by}: the address holds a password, which would show in logs: put the key into its own variable."
        )
    if re.search(r"[?#]", path):
        raise SettingsError(
            f"{by}: the address holds a ? or #: what follows would not reach the server, and would show in logs. End it with "
            "the path, and put a key into its own variable."
        )
    if _is_ip(authority, 6):
        authority = f"[{authority}]"
    parts = re.fullmatch(r"(\[[^][]*\]|[^][:]*)(?::(.*))?", authority)
    host, port = (parts[1], parts[2] or "") if parts else ("", "")
    if kind == "ollama" and authority:
        port = port or ("" if marked else "11434")
        host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104  (not bound)
    wrong = ""
    if scheme.lower() not in ("http", "https"):
        wrong = f"{scheme}:// is neither http:// nor https://"
    elif not text.isprintable():
        wrong = "it holds a character that does not print"
    elif not (parts and _is_host(host)):
        wrong = f"{host or authority!r} is no host" if authority else "it has no host"
    elif port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65536):
        wrong = f"the port {port!r} is not a number from 1 to 65535"
    if wrong:
        raise SettingsError(f"{by}: {text!r} is not an address ({wrong}): write http://HOST:PORT or https://HOST.")
    return f"{scheme.lower()}://{host}{':' if port else ''}{port}{path}".rstrip("/")


def _is_host(host: str) -> bool:
    """A name or address that can be looked up; IPv6 stands in brackets."""
    if host.startswith("["):
        return _is_ip(host[1:-1], 6)
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host):
        return _is_ip(host, 4)
    try:
        if host.isascii():
            host.encode("idna")  # the length of each label, which the look-up would stumble over
            return re.fullmatch(r"[A-Za-z0-9._~-]+", host) is not None
        import idna

        idna.encode(host.lower())
    except UnicodeError:
        return False
    return True


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def store_address(url: str, by: str) -> str:
    """The address as redis-py reads it, or a SettingsError that names the setting `by`, and shows no password."""
    scheme, _, rest = url.strip().partition("://")
    scheme = scheme.lower()
    wrong = _wrong_store(scheme, rest)
    if wrong:
        raise SettingsError(f"{by}: {masked(url)!r} is not the address of a Redis or Valkey: {wrong}.")
    return f"{scheme.replace('valkey', 'redis')}://{rest}"


def _wrong_store(scheme: str, rest: str) -> str:
    if scheme not in STORE_SCHEMES:
        return f"it must begin with one of {', '.join(f'{name}://' for name in STORE_SCHEMES)}"
    if rest and not masked(f"{scheme}://{rest}").partition("://")[2]:
        return "in a password / ? # @ are written as %2F %3F %23 %40"
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        _ = parts.port
    except ValueError:
        return "its port is no number, or its host no host"
    if scheme == "unix" and not parts.path:
        return "it names no socket: write unix:///path/to/socket"
    if scheme != "unix" and not parts.hostname:
        return f"it has no host: write {scheme}://HOST:6379/0"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _QUERY and not name.startswith("ssl_"):
            return f"unknown option {name!r}; known are {', '.join(_QUERY)} and redis-py's ssl_…"
        if name in ("db", "protocol") and not value.isdecimal():
            return f"{name} must be a whole number"
    return ""


def masked(url: str) -> str:
    """The address without user, password and options; only its scheme where it is not clear what of it is the password."""
    scheme, marked, rest = url.strip().partition("://")
    end = re.search(r"[/?#]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in tail:
        return f"{scheme}{marked}"
    return f"{scheme}{marked}{authority.rpartition('@')[2]}{tail.partition('?')[0]}"
