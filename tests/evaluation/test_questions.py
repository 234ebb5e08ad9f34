"""The questions of a benchmark, their fingerprint, and pictures that are bad or blank."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.scripted import benchmark, write_reasonseg
from PIL import Image

from vrft.errors import UserError
from vrft.evaluation.questions import Questions, blank_pictures, sample_seed, say_left_out
from vrft.types import Prompt


def test_a_fingerprint_of_bad_pictures_is_refused_or_made_without_them(tmp_path: Path) -> None:
    made = benchmark(write_reasonseg(tmp_path / "data"))
    asked = Questions.of(made, None)
    assert [sample.id for sample in asked.samples] == [*asked.prompts] == ["a", "b", "c", "d"]
    complete = asked.fingerprint()
    Path(str(asked.prompts["b"].images[0])).unlink()
    with pytest.raises(UserError, match=r"sample 'b': .*no such picture"):
        asked.fingerprint()
    skipped = replace(asked, benchmark=replace(made, on_bad_picture="skip")).fingerprint()
    assert skipped["pictures"] != complete["pictures"]
    assert skipped | {"pictures": ""} == complete | {"pictures": ""}


def test_the_first_samples_can_be_asked_alone(tmp_path: Path) -> None:
    made = benchmark(write_reasonseg(tmp_path / "data"))
    assert [*Questions.of(made, 2).prompts] == ["a", "b"]


def test_blank_pictures_have_the_sizes_of_the_true_ones() -> None:
    prompt = blank_pictures(Prompt("?", (Image.new("RGB", (30, 20), "red"),)))
    (grey,) = prompt.images
    assert isinstance(grey, Image.Image)
    assert (prompt.text, grey.size, np.unique(np.asarray(grey)).tolist()) == ("?", (30, 20), [127])


def test_a_seed_is_that_of_its_sample_in_every_process() -> None:
    # sha256 of "0/a" begins with 8 hexadecimal digits, which the seed must keep for ever.
    assert sample_seed(0, "a") == int(hashlib.sha256(b"0/a").hexdigest()[:8], 16)
    assert sample_seed(0, "\ud83d") != sample_seed(0, "\ud83e")  # half characters too


def test_one_process_of_a_launch_tells_what_was_left_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say_left_out({}, 4)
    monkeypatch.setenv("RANK", "1")
    say_left_out({"b": "gone"}, 4)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("RANK", "0")
    say_left_out({"b": "gone", "c": "cut off"}, 4)
    told = capsys.readouterr().err
    assert told.startswith("note: 2 of 4 samples have a picture that cannot be read")
    assert told.endswith("the first is 'b': gone\n")
