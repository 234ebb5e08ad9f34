"""What Jupyter shows: curves by their points, and no text as HTML."""

from vrft.api.jupyter import html_curve, html_table


def test_a_curve_goes_from_corner_to_corner_and_needs_two_points() -> None:
    # 100 wide and 28 high, of which 4 above and below are left free: 24 down to 4.
    assert 'points="0.0,24.0 50.0,14.0 100.0,4.0"' in html_curve({1: 0.0, 3: 0.5, 5: 1.0}, 100, 28)
    assert 'points="0.0,24.0 100.0,24.0"' in html_curve({1: 0.5, 2: 0.5}, 100, 28)
    assert html_curve({1: 0.5}) == html_curve({}) == ""


def test_every_text_of_a_table_is_escaped() -> None:
    table = html_table("<script>", ("<a>",), [("<b>",)])
    assert "<script>" not in table and "<a>" not in table and "<b>" not in table
