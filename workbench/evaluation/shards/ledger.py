"""The ledger that all workers of a run share, in the key-value store: what money is left, and whose turn it is.

Money is leased. A lease holds what its owner may still spend: `begun` for calls that are under way, `free` for those that come
next. Each call is written down before it is sent, in one round trip that settles those that have ended. A lease that is not
renewed in time expires: what was free comes back; what was begun is taken as spent, since the server may have charged it. So
the sum is never passed, whichever worker is lost. Amounts are whole billionths of a dollar, times the store's own.

    wb:run:{TOKEN}:money    hash: total, spent, and for each lease b:ID (begun), f:ID (free)
    wb:run:{TOKEN}:leases   sorted set: ID -> when it expires
    wb:rate:{ENDPOINT}:BUDGET   hash: level, at: a bucket of requests or tokens, for all runs of that store
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

from workbench.settings import Endpoint
from workbench.stores.keyvalue import KeyValue

__all__ = ["Grant", "Ledger"]

_BILLION = 1_000_000_000
_KEEP = 86_400_000  # milliseconds for which a run's money is remembered
_LEASE = 30_000
_AHEAD = 0.5  # seconds of a rate that are leased at once where nobody waits for them

# KEYS: money, leases. ARGV: lease, settled, ended (begun calls that are over), take (0: only settle), want (to lease ahead),
# milliseconds of the lease, of all, "close" to end the lease. Returns {granted, begun by all, left}; left -1: no such ledger.
_MONEY = """
local total = tonumber(redis.call('HGET', KEYS[1], 'total'))
if not total then return {0, 0, -1} end
local id, settled, ended, take, want = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function number(field) return tonumber(redis.call('HGET', KEYS[1], field) or '0') end
for _, other in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('HINCRBY', KEYS[1], 'spent', string.format('%.0f', number('b:' .. other)))
  redis.call('HDEL', KEYS[1], 'b:' .. other, 'f:' .. other)
  redis.call('ZREM', KEYS[2], other)
end
redis.call('HINCRBY', KEYS[1], 'spent', string.format('%.0f', settled))
local begun, free, others, left = math.max(0, number('b:' .. id) - ended), number('f:' .. id), 0, total - number('spent')
for _, other in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  if other ~= id then
    others = others + number('b:' .. other) + number('f:' .. other)
  end
end
left = left - others - begun
local granted = 0
if free < take then free = math.max(0, math.min(left, math.max(take, want))) end
if take > 0 and free >= take then
  granted, begun, free = 1, begun + take, free - take
elseif take > 0 then
  free = 0
end
if ARGV[8] == 'close' then
  redis.call('HDEL', KEYS[1], 'b:' .. id, 'f:' .. id)
  redis.call('ZREM', KEYS[2], id)
else
  redis.call('HSET', KEYS[1], 'b:' .. id, string.format('%.0f', begun), 'f:' .. id, string.format('%.0f', free))
  redis.call('ZADD', KEYS[2], now + ARGV[6], id)
end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('PEXPIRE', KEYS[2], ARGV[7])
return {granted, string.format('%.0f', others + begun), string.format('%.0f', left)}
"""

# KEYS: bucket. ARGV: a second's worth, the most it holds, amount (below 0: give back), what to lease where that much is there.
# Returns {milliseconds to wait, what was taken}.
_RATE = """
local rate, most, amount, ahead = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local held = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = math.min(most, tonumber(held[1] or most) + (now - tonumber(held[2] or now)) * rate)
local wait, taken = 0, amount
if amount > 0 then
  if level >= math.max(ahead, amount) then taken = math.max(ahead, amount) end
  wait = math.max(0, (math.min(amount, most) - level) / rate)
end
level = math.min(most, level - taken)
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'at', string.format('%.17g', now))
redis.call('PEXPIRE', KEYS[1], 3600000)
return {math.ceil(wait * 1000), string.format('%.17g', taken)}
"""


@dataclass(frozen=True, slots=True)
class Grant:
    """Whether a call may begin. leased: dollars that are leased to anyone, which may come back. left: dollars that are not."""

    ok: bool
    leased: float
    left: float


class Ledger:
    """A run's ledger by its token; workers that give the same token share it."""

    def __init__(self, kv: KeyValue, token: str) -> None:
        self._kv = kv
        self._money, self._leases = f"wb:run:{{{token}}}:money", f"wb:run:{{{token}}}:leases"

    async def open(self, usd: float) -> None:
        """Put so many dollars in."""
        store = await self._kv.client()
        await store.hset(self._money, mapping={"total": math.floor(usd * _BILLION), "spent": 0})
        await store.pexpire(self._money, _KEEP)

    async def there(self) -> bool:
        """Whether this store has the run's ledger."""
        store = await self._kv.client()
        return bool(await store.exists(self._money))

    async def spent(self) -> float:
        """Dollars that are gone, or may be: settled, and begun. Between shards only workers that were lost have begun any."""
        store = await self._kv.client()
        found = await cast("Awaitable[dict[bytes, bytes]]", store.hgetall(self._money))
        return sum(int(value) for name, value in found.items() if name == b"spent" or name.startswith(b"b:")) / _BILLION

    async def close(self) -> None:
        """Forget it."""
        store = await self._kv.client()
        await store.delete(self._money)
        await store.delete(self._leases)

    async def turn(
        self,
        lease: str,
        *,
        settled: float = 0.0,
        ended: float = 0.0,
        take: float = 0.0,
        want: float = 0.0,
        close: bool = False,
        seconds: float = _LEASE / 1000,
    ) -> Grant:
        """Settle what calls have cost (`ended`: what they were begun with), and begin one that costs at most `take`, if that is
        free or can be leased (with as much of `want` as there is). The lease lives `seconds` from now on, or ends with `close`.
        """
        amounts = [math.ceil(round(usd * _BILLION, 3)) for usd in (settled, ended, take, want)]
        store = await self._kv.client()
        granted, leased, left = await cast(
            "Awaitable[list[Any]]",
            store.eval(
                _MONEY, 2, self._money, self._leases, lease, *amounts, round(seconds * 1000), _KEEP,
                "close" if close else "",
            ),
        )  # fmt: skip
        return Grant(bool(granted), int(leased) / _BILLION, int(left) / _BILLION)

    async def rate(
        self, endpoint: Endpoint, budget: str, per_minute: float, amount: float, ahead: int
    ) -> tuple[float, float]:
        """Take so many requests or tokens of an endpoint's minute: (seconds to wait before they may be used, what was taken).
        ahead: workers that share; where it is there, half a second's share of one is taken. Below 0 gives back."""
        name = hashlib.sha256("\n".join((endpoint.name, *endpoint.urls)).encode()).hexdigest()[:16]
        a_second, most = per_minute / 60, max(1.0, per_minute / 10)
        store = await self._kv.client()
        wait, taken = await cast(
            "Awaitable[list[Any]]",
            store.eval(
                _RATE, 1, f"wb:rate:{{{name}}}:{budget}", repr(a_second), repr(most), repr(float(amount)),
                repr(a_second * _AHEAD / max(1, ahead)),
            ),
        )  # fmt: skip
        return int(wait) / 1000, float(taken)
