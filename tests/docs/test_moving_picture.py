from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fakes import viewed
from fakes.folders import ROOT
from PIL import Image


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Load docs/site/moving_picture.py, which is no module of the package."""
    path = ROOT / "docs" / "site" / "moving_picture.py"
    spec = importlib.util.spec_from_file_location("moving_picture", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([1, 2], [1, 2]),  # fewer than are shown
        (range(1, 12), [1, 6, 11]),
        ([10, 20, 30, 40], [10, 30, 40]),  # the middle of four is rounded to the even place
    ],
)
def test_steps_lie_at_even_distances_with_the_first_and_the_last(
    script: ModuleType, steps: Any, shown: list[int]
) -> None:
    assert script.spread(list(steps), 3) == shown


def test_a_step_shows_its_group_of_median_reward(script: ModuleType) -> None:
    def group(*rewards: float) -> dict[str, Any]:
        return {"answers": [{"reward": reward} for reward in rewards]}

    # Means 1, 0.25 and 0.5; of an even number the lower of the two in the middle.
    assert script.median_group([group(1, 1), group(0, 0.5), group(0, 1)]) == 2
    assert script.median_group([group(1), group(0)]) == 1


def test_a_moving_picture_is_as_good_as_its_bytes_allow(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [Image.effect_noise((64, 64), 50 + k).convert("RGB") for k in range(3)]
    best = script.animated(frames)
    monkeypatch.setattr(script, "LARGEST", len(best) - 1)
    assert len(script.animated(frames)) < len(best)
    monkeypatch.setattr(script, "LARGEST", 10)
    with pytest.raises(SystemExit, match="3 frames are more than 10 bytes"):
        script.animated(frames)


def test_the_readme_has_the_picture_a_still_one_and_words(script: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    still = '<source media="(prefers-reduced-motion: reduce)" srcset="docs/rollouts.png">'
    assert still in text and '<img src="docs/rollouts.webp" alt="' in text
    path = ROOT / "docs" / "rollouts.webp"
    with Image.open(path) as moving, Image.open(ROOT / "docs" / "rollouts.png") as one:
        assert moving.n_frames == script.FRAMES  # type: ignore[attr-defined]
        assert moving.size == one.size == tuple(script.SIZE.values())
    assert path.stat().st_size <= script.LARGEST


@pytest.mark.browser
def test_the_script_writes_both_pictures_of_a_run(script: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api")
    viewed.evaluations(tmp_path)
    run = viewed.run(tmp_path / "run", tmp_path / "data")
    script.main(run, tmp_path)
    with Image.open(tmp_path / "rollouts.webp") as moving:
        assert moving.n_frames == 3  # type: ignore[attr-defined]  # as many as the run has steps
    assert (tmp_path / "rollouts.png").is_file()
