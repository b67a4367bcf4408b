"""Where the counts of a feature are kept in the key-value store, and the one script that adds to them.

All keys of a feature share a hash tag, so that a cluster keeps them on one node:

    wb:online:1:{FEATURE}:cells                 hash: RELEASE|LABEL -> the last minute with calls
    wb:online:1:{FEATURE}:t:RELEASE|LABEL       hash: totals: calls, errors, dollars, unpriced, seconds, b<INDEX> of the sketch
    wb:online:1:{FEATURE}:m:RELEASE|LABEL|MIN   hash: the same for one minute (Unix minutes); expires after KEEP_MINUTES
    wb:online:1:{FEATURE}:x:STUDY               hash: STAGE|ARM -> users first exposed; ARM|METRIC|SUM -> a sum over users
    wb:online:1:{FEATURE}:e:STUDY|ARM           set: the users exposed
    wb:online:1:{FEATURE}:u:STUDY|ARM|METRIC    hash: user -> what this user's values add up to, and how many they are
    wb:online:1:{FEATURE}:lost                  how many values callers could not keep while the store was away
    wb:online:1:{FEATURE}:w:WRITER              the last batch of a writer
    wb:online:1:{FEATURE}:rules, acted, lease, looked   see `guard`

LABEL is "live", "tester" or EXPERIMENT/ARM. STUDY is an `Experiment.key`, or "release-NUMBER" for a live release by itself (ARM
"live"). A user is the first 8 bytes of a SHA-256, base64. METRIC is "errors", "slow", "cost" or the name of an outcome.

The script applies a batch whole or not at all, and each batch once: a writer numbers its batches, and one that was sent again is
passed over. It never runs where memory is full (it has no allow-oom flag): releases need that room more.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

__all__ = ["ADD", "KEEP_MINUTES", "KEEP_STUDIES", "SUMS", "key", "user_field"]

KEEP_MINUTES: Final = 2 * 86400
KEEP_STUDIES: Final = 90 * 86400
SUMS: Final = ("n", "s", "c", "q", "ss", "sc", "cc")
"""Over users: how many; of their sums s, their counts c, the squares q of their values; of s², s c and c²."""


def key(feature: str, *parts: object) -> str:
    """The name of a key of a feature."""
    return f"wb:online:1:{{{feature}}}:" + ":".join(map(str, parts))


def user_field(user: str) -> str:
    """What stands for a user in the store: 11 characters, and no way back to the name but trying names."""
    hashed = hashlib.sha256(b"wb:user:" + user.encode("utf-8", "surrogatepass")).digest()[:8]
    return base64.urlsafe_b64encode(hashed)[:11].decode()


# KEYS: the writer's mark, rules, then those that the batch names by their place. ARGV: batch number, seconds to keep the mark,
# the version of the rules that the writer knows, the batch as JSON:
#   h: [key, seconds to live, field, number, field, number …], added up         (a total, a minute, the cells, what was lost)
#   g: [key, field, number …], the largest is kept
#   e: [set, moments, seconds to live, field, user …]
#   u: [users, moments, seconds to live, prefix, cap, user, sum, count, squares, user …]
# Returns the rules if the writer has others, else nothing.
ADD: Final = """#!lua
local function numbers(key, seconds, pairs)
  for i = 1, #pairs, 2 do redis.call('HINCRBYFLOAT', key, pairs[i], pairs[i + 1]) end
  redis.call('EXPIRE', key, seconds)
end
local rules = redis.call('GET', KEYS[2])
if rules == ARGV[3] or not rules then rules = '' end
if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[1]) or '0') then return rules end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
local batch = cjson.decode(ARGV[4])
for _, item in ipairs(batch.h) do
  local pairs = {}
  for i = 3, #item do pairs[i - 2] = item[i] end
  numbers(KEYS[item[1]], item[2], pairs)
end
for _, item in ipairs(batch.g) do
  for i = 3, #item, 2 do
    local old = tonumber(redis.call('HGET', KEYS[item[1]], item[i]) or '0')
    if item[i + 1] > old then redis.call('HSET', KEYS[item[1]], item[i], item[i + 1]) end
  end
  redis.call('EXPIRE', KEYS[item[1]], item[2])
end
for _, item in ipairs(batch.e) do
  local added = 0
  for i = 5, #item do added = added + redis.call('SADD', KEYS[item[1]], item[i]) end
  redis.call('EXPIRE', KEYS[item[1]], item[3])
  numbers(KEYS[item[2]], item[3], {item[4], added})
end
for _, item in ipairs(batch.u) do
  local users, cap = KEYS[item[1]], item[5]
  local n, S, C, Q, SS, SC, CC = 0, 0, 0, 0, 0, 0, 0
  for i = 6, #item, 4 do
    local s, c, q = item[i + 1], item[i + 2], item[i + 3]
    local old = redis.call('HGET', users, item[i])
    local s0, c0 = 0, 0
    if old then s0, c0 = struct.unpack('<dd', old) else n = n + 1 end
    if c0 < cap then
      local s1, c1 = s0 + s, c0 + c
      redis.call('HSET', users, item[i], struct.pack('<dd', s1, c1))
      S, C, Q = S + s, C + c, Q + q
      SS, SC, CC = SS + s * (s0 + s1), SC + s * c1 + s0 * c, CC + c * (c0 + c1)
    end
  end
  redis.call('EXPIRE', users, item[3])
  local p = item[4]
  numbers(KEYS[item[2]], item[3],
          {p .. 'n', n, p .. 's', S, p .. 'c', C, p .. 'q', Q, p .. 'ss', SS, p .. 'sc', SC, p .. 'cc', CC})
end
return rules
"""
