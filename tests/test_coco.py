"""``vrft.coco`` is the name by which tasks reach COCO's reader."""

from vrft import coco
from vrft.annotations import coco as reader


def test_tasks_reach_the_reader_by_its_flat_name() -> None:
    assert all(getattr(coco, name) is getattr(reader, name) for name in coco.__all__)
