"""Splits: a random stream for each, and contents that belong to one of them for good."""

from collections import Counter

import pytest

from vrft.demo.splits import generator, split_by_hash


def test_a_stream_follows_from_the_seed_and_the_name_of_the_split() -> None:
    first = generator(0, "train").integers(1000, size=8).tolist()
    assert first == generator(0, "train").integers(1000, size=8).tolist()
    assert first != generator(1, "train").integers(1000, size=8).tolist()
    assert first != generator(0, "test").integers(1000, size=8).tolist()


def test_the_stream_of_the_demo_data_stays_what_it_was() -> None:
    # The embedded models were taught on pictures of these streams.
    assert generator(0, "train").integers(1000, size=4).tolist() == [426, 112, 497, 157]


@pytest.mark.parametrize(
    ("content", "split"),
    [
        # crc32 divided by 10 leaves 0, the first part
        ("brick owl", "val"),
        # 1 and 2
        ("grass cow", "test"),
        ("grass owl", "test"),
        # 3 and 9
        ("brick cat", "train"),
        ("brick bus owl", "train"),
    ],
)
def test_a_content_belongs_to_the_split_of_its_hash(content: str, split: str) -> None:
    assert split_by_hash(content, parts=10) == split


def test_one_part_is_val_and_two_are_test() -> None:
    contents = [f"content {number}" for number in range(15_000)]
    counts = Counter(split_by_hash(content, parts=15) for content in contents)
    # 1,000 and 2,000 expected, give or take a standard deviation of 31 and 42.
    assert abs(counts["val"] - 1000) < 150 and abs(counts["test"] - 2000) < 200
    assert counts["train"] == 15_000 - counts["val"] - counts["test"]
