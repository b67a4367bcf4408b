"""Answers that need not be asked for again: the same request (exact) or, guarded, the same question in other words (semantic)."""

from workbench.cache.cache import Cache, scope_name
from workbench.cache.exact import ExactCache
from workbench.cache.key import cache_key, cacheable, endpoint_identity
from workbench.cache.stats import CacheStats

__all__ = ["Cache", "CacheStats", "ExactCache", "cache_key", "cacheable", "endpoint_identity", "scope_name"]
