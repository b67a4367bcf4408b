"""Answers that need not be asked for again: the same request (exact) or, guarded, the same question in other words (semantic)."""


from workbench.cache.key import cache_key, cacheable, endpoint_identity


__all__ = ["ExactCache", "ExactStats", "cache_key", "cacheable", "endpoint_identity"]
