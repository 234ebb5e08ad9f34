"""Annotations of pictures, from which questions are made: json of COCO, labelme and ReasonSeg."""
