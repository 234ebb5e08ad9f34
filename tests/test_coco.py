"""``vrft.coco`` is the name by which tasks reach COCO's reader."""

from vrft import coco
from vrft.annotations import coco as reader
from vrft.annotations import coco_files


def test_tasks_reach_the_reader_by_its_flat_name() -> None:
    readers = {**vars(coco_files), **vars(reader)}
    assert all(getattr(coco, name) is readers[name] for name in coco.__all__)
