"""Pictures of predictions and curves of runs that show themselves in Jupyter and can be saved.

``draw`` puts boxes on a picture, ``panel`` shows a sample with its answers, ``gallery`` several
beside each other, and ``curves`` draws metrics of runs. What they return is shown as HTML, whose
texts can be selected; ``save(path)`` writes a picture or a page. The boxes go on to other tools by
``to_supervision()`` and ``to_fiftyone()``. Nothing here knows a model or a task.

>>> from PIL import Image
>>> from vrft import viz
>>> from vrft.boxes import Box
>>> picture = Image.new("RGB", (112, 56), "white")
>>> drawing = viz.draw(picture, {"true": [Box(0.1, 0.2, 0.5, 0.9)], "answer": [Box(0, 0, 1, 1)]})
>>> drawing
<Drawing: 112 x 56 pixels, 2 boxes>
>>> drawing.save("boxes.png").name
'boxes.png'
"""

from vrft.viz.charts import Curves, curves
from vrft.viz.exhibits import Answer, Exhibit, Mark
from vrft.viz.palette import COLOURS
from vrft.viz.shown import Drawing, Gallery, Panel, draw, gallery, panel

__all__ = [
    "COLOURS",
    "Answer",
    "Curves",
    "Drawing",
    "Exhibit",
    "Gallery",
    "Mark",
    "Panel",
    "curves",
    "draw",
    "gallery",
    "panel",
]
