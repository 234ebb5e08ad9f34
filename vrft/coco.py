"""COCO's json of instances: boxes and crowds of every picture by category."""

from vrft.annotations.coco import ROBOFLOW, ByCategory, Instances, Picture, find, read

__all__ = ["ROBOFLOW", "ByCategory", "Instances", "Picture", "find", "read"]
