"""Courses: what the cold start takes for granted about their sizes, words and stages."""

import pytest

from vrft import config
from vrft.demo import data, tiny, tiny_configs
from vrft.demo.course import Course, Start

COURSES = {task: course for task in data.MODULES if (course := data.demo(task).COURSE)}
STARTS = {task: course.start for task, course in COURSES.items() if course.start}


def test_every_task_but_grounding_has_a_course() -> None:
    assert set(data.MODULES) - set(COURSES) == {"lisa_grounding"}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_heads_are_32_wide(start: Start) -> None:
    # The rotary frequencies of the tiny models are dealt out for 16 pairs of dimensions.
    assert start.size.hidden_size == 32 * start.size.num_attention_heads
    assert sum(tiny_configs.MROPE_SECTION) == 16
    assert start.size.num_attention_heads % start.size.num_key_value_heads == 0
    assert start.size.vision_size % start.size.vision_heads == 0


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_texts_of_a_vocabulary_survive_its_tokenizer(start: Start) -> None:
    words = tiny.tokenizer(start.vocabulary)
    for text in start.vocabulary.texts:
        assert words.decode(words(text)["input_ids"]) == text
    # Only with ``numbers`` is 40 a token of its own.
    assert (words.tokenize("40") == ["40"]) is start.vocabulary.numbers


@pytest.mark.parametrize(("task", "course"), COURSES.items(), ids=COURSES)
def test_the_stages_of_a_course_have_folders_of_their_own_and_valid_settings(
    task: str, course: Course
) -> None:
    folders = [stage.name for stage in course.stages]
    folders += [f"{stage.name}-data" for stage in course.stages]
    assert len({*folders, "random", "model"}) == len(folders) + 2
    for stage in course.stages:
        assert 0 <= stage.carelessness <= 1 and stage.rows > 0
        config.load(f"demo/{task}", stage.settings)


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_the_last_stage_has_a_habit_that_is_likelier_than_the_right_answer(course: Course) -> None:
    assert course.stages[-1].carelessness > 0.5
    assert all(stage.carelessness == 0 for stage in course.stages[:-1])
