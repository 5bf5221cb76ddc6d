"""Counters that are forgotten after a while, in the cache."""

from django.core.cache import cache


def count(key: str, kept_s: int) -> int:
    """One more of this key; gives how many there are now. It is kept for so long from the first on."""
    if cache.add(key, 1, timeout=kept_s):
        return 1
    try:
        return cache.incr(key)
    except ValueError:  # dropped since, by a cache that is full
        cache.set(key, 1, timeout=kept_s)
        return 1
