"""COCO's json of instances: boxes and crowds of every picture by category."""

from vrft.annotations.coco import ByCategory, Instances, Picture, find, read
from vrft.annotations.coco_files import ROBOFLOW, has_rows

__all__ = ["ROBOFLOW", "ByCategory", "Instances", "Picture", "find", "has_rows", "read"]
