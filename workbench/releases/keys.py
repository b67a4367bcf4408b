"""Where releases are kept in the key-value store, and the one script that changes what is live.

All keys of a feature share a hash tag, so that a cluster keeps them on one node; none expires:

    wb:rel:1:{FEATURE}:live       hash: sequence, id (of the change that made it), document (see `document`)
    wb:rel:1:{FEATURE}:releases   hash: number -> the release, as JSON; written once
    wb:rel:1:{FEATURE}:history    list: change N, as JSON, at place N - 1
    wb:rel:1:{FEATURE}:changed    channel: SEQUENCE ID of each change, and on the next line the document, up to 64 kB
    wb:rel:1:features             set: the names of all features
"""

from __future__ import annotations

from typing import Final, NamedTuple

from workbench.records import check_name

__all__ = ["CHANGE", "FEATURES", "REGISTER", "Keys"]

FEATURES: Final = "wb:rel:1:features"


class Keys(NamedTuple):
    """The names that belong to one feature."""

    live: str
    releases: str
    history: str
    channel: str

    @classmethod
    def of(cls, feature: str) -> Keys:
        """InputError for a name that is none; a feature's name holds no brace, which would end the hash tag."""
        begin = f"wb:rel:1:{{{check_name(feature, 'feature')}}}"
        return cls(f"{begin}:live", f"{begin}:releases", f"{begin}:history", f"{begin}:changed")


# allow-oom: a rollback must work when memory is full. A script of this kind needs Redis 7 or Valkey.
REGISTER: Final = """#!lua flags=allow-oom
return redis.call('SADD', KEYS[1], ARGV[1])
"""

# KEYS: live, releases, history. ARGV: the sequence that it changes, the next one, id, document, event, channel, and, for a new
# release, its number and JSON ("" for none). Nothing is written unless all of it can be.
# Returns nothing if it was done; else the sequence now, and the event at the place of ours, which tells whether a command that
# was sent again had been done already.
CHANGE: Final = r"""#!lua flags=allow-oom
local now = redis.call('HGET', KEYS[1], 'sequence') or tostring(redis.call('LLEN', KEYS[3]))
if now ~= ARGV[1] or (ARGV[7] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[7]) == 1) then
  return {now, redis.call('LINDEX', KEYS[3], ARGV[1])}
end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[2], ARGV[7], ARGV[8]) end
redis.call('HSET', KEYS[1], 'sequence', ARGV[2], 'id', ARGV[3], 'document', ARGV[4])
redis.call('RPUSH', KEYS[3], ARGV[5])
local news = ARGV[2] .. ' ' .. ARGV[3]
if #ARGV[4] <= 65536 then news = news .. '\n' .. ARGV[4] end
redis.call('PUBLISH', ARGV[6], news)
return {}
"""
