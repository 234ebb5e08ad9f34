"""What Jupyter shows of results: tables, a curve, pictures, as HTML with every text escaped."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from vrft.errors import UserError


def html_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of HTML, every text escaped."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    caption = f"<caption>{html.escape(title)}</caption>"
    return f"<table>{caption}<tr>{line(headings, 'th')}</tr>{body}</table>"


def html_curve(points: Mapping[int, float], width: int = 480, height: int = 120) -> str:
    """Return a line of SVG through step -> value; "" for fewer than two points."""
    if len(points) < 2:
        return ""
    low, high = min(points.values()), max(points.values())
    first, last = min(points), max(points)
    line = " ".join(
        f"{width * (step - first) / (last - first):.1f},"
        f"{height - 4 - (height - 8) * (value - low) / ((high - low) or 1):.1f}"
        for step, value in points.items()
    )
    return (
        f'<svg width="{width}" height="{height}" role="img">'
        f"<title>reward, {low:.3g} to {high:.3g}, steps {first} to {last}</title>"
        f'<polyline points="{line}" fill="none" stroke="currentColor"/></svg>'
    )


def html_pictures(folder: Path, count: int = 4) -> str:
    """Return the worst answers of an evaluation on their pictures; "" where there is none."""
    from vrft.evaluation import results, viz

    sheet = io.BytesIO()
    with contextlib.suppress(UserError):  # the table is worth showing without its data
        evaluation = results.load_evaluation(folder)
        worst = results.exhibits(evaluation, results.worst_first(evaluation)[:count])
        if shown := [exhibit for exhibit in worst if exhibit.image is not None]:
            viz.gallery(shown).save(sheet, "JPEG", quality=85)
    data = base64.b64encode(sheet.getvalue()).decode("ascii")
    return f'<img alt="the worst answers" src="data:image/jpeg;base64,{data}"/>' if data else ""
