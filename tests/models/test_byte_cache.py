"""Memory bounded in bytes: what was used last is held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from vrft.models.byte_cache import ByteCache


def test_what_was_not_used_for_longest_goes_first() -> None:
    held: ByteCache[bytes] = ByteCache(6, len)
    for key in ("a", "b", "c"):
        held.put(key, key.encode() * 2)
    assert held.get("a") == b"aa"  # b is the oldest from here on
    held.put("d", b"dd")
    assert [held.get(key) for key in "abcd"] == [b"aa", None, b"cc", b"dd"]


def test_the_bound_is_in_bytes_and_is_kept() -> None:
    held: ByteCache[bytes] = ByteCache(10, len)
    for number in range(1, 9):
        held.put(number, bytes(number))
        assert held.bytes == sum(len(value) for value in held.values.values()) <= 10
    assert list(held.values) == [8]  # 8 and 7 are 15 bytes


def test_a_value_over_the_bound_is_not_held_and_drives_nothing_out() -> None:
    held: ByteCache[bytes] = ByteCache(4, len)
    held.put("small", b"1234")
    held.put("large", b"12345")
    assert (held.get("small"), held.get("large")) == (b"1234", None)


def test_a_value_put_twice_counts_once() -> None:
    held: ByteCache[bytes] = ByteCache(4, len)
    held.put("a", b"123")
    held.put("a", b"456")
    assert (held.get("a"), held.bytes) == (b"456", 3)


def test_threads_may_share_it() -> None:
    held: ByteCache[bytes] = ByteCache(50, len)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: (held.put(n % 40, bytes(n % 9)), held.get(n % 7)), range(4000)))
    assert held.bytes == sum(len(value) for value in held.values.values()) <= 50
