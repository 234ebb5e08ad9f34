"""Rows of each format: turns, places of pictures, options, ids, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from vrft.errors import UserError
from vrft.formats import rows
from vrft.formats.rows import Row
from vrft.records import Record
from vrft.types import Turn

USER = {"role": "user", "content": "Q?"}
REPLY = {"role": "assistant", "content": "A."}
NAN = float("nan")


def record(**values: Any) -> Record:
    return Record(values, "rows.jsonl: line 3", 2)


def test_answers_lose_the_tags_of_published_solutions() -> None:
    row = rows.read_problem(record(problem=" Q? ", solution="<answer> 3 </answer>", image="a.png"))
    assert (row.id, row.question, row.answer, row.pictures) == ("2", "Q?", "3", ("a.png",))


def test_columns_of_csv_hold_messages_and_objects_as_json() -> None:
    said = [{"role": "system", "content": "S"}, USER, REPLY, USER]
    row = rows.read_trl(record(prompt=json.dumps(said), solution="1", images="a.png"))
    assert (row.system, row.question, len(row.turns)) == ("S", "Q?", 2)
    assert rows.read_problem(record(problem=json.dumps([USER]), answer="1")).question == "Q?"
    truth = json.dumps({"style": "rule", "ground_truth": 3})
    assert rows.read_verl(record(prompt=json.dumps([USER]), reward_model=truth)).answer == 3
    turns = json.dumps([USER, REPLY])
    assert len(rows.read_canonical(record(question="Q", answer="1", turns=turns)).turns) == 2
    # lists that are no messages are texts, as any other
    for text in ("[1, 2]", '["role"]', '[{"a": 1}]', "[]", "[role] Q"):
        assert rows.read_trl(record(prompt=text, solution="1")).question == text


@pytest.mark.parametrize(
    "answer",
    [
        "{'x1': 10, 'y1': 20, 'x2': 30, 'y2': 40}",
        "[{'Position': [10, 20, 30, 40], 'Confidence': 1}]",
        "<answer>{'label': 'cup', 'bbox_2d': array([10, 20, 30, 40])}</answer>",
        # numpy's lists, and a list of them
        "[10. 20. 30.5 40.]",
        "[[10 20 30 40]\n [11 21 31 41]]",
        "[array([10, 20, 30, 40])]",
    ],
)
def test_boxes_in_the_writing_of_python_are_refused(answer: str) -> None:
    values = {"question": "Q", "answer": answer}
    with pytest.raises(
        UserError, match=r"line 3: the answer .* in Python's writing; write it in J"
    ):
        rows.read_canonical(record(**values, images=["a.png"]))
    # without a picture it is a text, such as the output of a program
    assert rows.read_canonical(record(**values)).answer == rows.bare(answer)


def test_an_answer_is_read_from_the_line_in_which_its_derivation_ends() -> None:
    values = {"question": "Q", "answer": "3+4=<<3+4=7>>7\n#### 7"}
    assert rows.read_canonical(record(**values)).answer == "7"


def test_an_answer_that_derives_its_result_in_a_box_is_refused() -> None:
    with pytest.raises(UserError, match=r"derives its result; write the result alone, or .*math"):
        rows.read_problem(record(problem="Q", solution="We get \\boxed{7}."))
    # a row with a picture would be refused there
    with pytest.raises(UserError, match=r"derives its result; write the result alone$"):
        rows.read_problem(record(problem="Q", solution="We get \\boxed{7}.", image="a.png"))
    boxed = rows.read_problem(record(problem="Q", solution="$\\boxed{7}$"))
    assert boxed.answer == "$\\boxed{7}$"


@pytest.mark.parametrize("answer", ["{'x': 3, 'y': 4}", "{'left': 'cup'}", "[a, 'x1']", "[1 2 3]"])
def test_other_texts_in_the_writing_of_python_are_texts(answer: str) -> None:
    row = rows.read_canonical(record(question="Q", answer=answer, images=["a.png"]))
    assert row.answer == answer


def test_the_last_reply_is_the_answer_and_earlier_turns_stay() -> None:
    said = [{"role": "system", "content": "S"}, USER, REPLY, USER, {**REPLY, "content": "B."}]
    row = rows.read_messages(record(messages=said))
    assert row.system == "S"
    assert row.turns == (Turn("user", "Q?"), Turn("assistant", "A."))
    assert (row.question, row.answer, row.reply_left_out) == ("Q?", "B.", False)


def test_verl_rows_have_the_index_of_their_extra_info_as_id() -> None:
    values = {"prompt": [USER], "reward_model": {"style": "rule", "ground_truth": 3}}
    assert rows.read_verl(record(**values, extra_info={"index": 7})).id == "7"
    assert rows.read_verl(record(**values, extra_info={"index": 7}, id="x")).id == "x"
    assert rows.read_verl(record(**values)).answer == 3
    assert rows.read_verl(record(**values, extra_info={"index": NAN})).id == "2"
    both = {**values, "extra_info": {"index": 7}, "key": "k"}
    named = Record(both, "rows.jsonl: line 3", 2, (), {"id": "key"})
    assert rows.read_verl(named).id == "k"


@pytest.mark.parametrize(
    ("turns", "question", "pictures", "first"),
    [
        # one turn: without a place, pictures stand before it anyway
        ((), "Q", ("a",), "Q"),
        ((), "in <image>", ("a",), "in <image>"),
        # several turns: before the first one, unless a place is marked
        ((Turn("user", "U"), Turn("assistant", "V")), "Q", ("a", "b"), "<image><image>U"),
        ((Turn("user", "U"), Turn("assistant", "V")), "Q <image>", ("a",), "U"),
        ((Turn("user", "U <image>"), Turn("assistant", "V")), "Q", ("a",), "U <image>"),
        ((Turn("user", "U"), Turn("assistant", "V")), "Q", (), "U"),
    ],
)
def test_pictures_have_places(
    turns: tuple[Turn, ...], question: str, pictures: tuple[str, ...], first: str
) -> None:
    row = rows.with_places(Row("1", question, "A", record(), pictures, turns=turns))
    assert [*(turn.text for turn in row.turns), row.question][0] == first


@pytest.mark.parametrize(
    ("read", "values", "complaint"),
    [
        # places and pictures that do not agree, in either direction and in any turn
        (
            rows.read_canonical,
            {"question": "<image> <image>", "images": ["a"], "answer": "1"},
            "2 places <image> for 1 pictures",
        ),
        (
            rows.read_canonical,
            {"question": "<image>", "answer": "1"},
            "1 places <image> for 0 pictures",
        ),
        (
            rows.read_canonical,
            {
                "question": "Q",
                "images": ["a", "b"],
                "answer": "1",
                "turns": [{"role": "user", "content": "<image>"}, REPLY],
            },
            "1 places <image> for 2 pictures",
        ),
        (
            rows.read_canonical,
            {"question": "Q", "answer": "1", "system": "<image>"},
            "<image> in the system text",
        ),
        (
            rows.read_conversations,
            {
                "conversations": [
                    {"from": "human", "value": "<img>a.jpg</img> Q"},
                    {"from": "gpt", "value": "1"},
                ]
            },
            "--task lisa_grounding",
        ),
        (
            rows.read_messages,
            {
                "messages": [{"role": "user", "content": [{"type": "image", "image": "a"}]}, REPLY],
                "images": ["b"],
            },
            "give them once",
        ),
        # turns that cannot be kept
        (
            rows.read_messages,
            {"messages": [{"role": "tool", "content": "T"}, USER, REPLY]},
            "message 0 is of the role 'tool'",
        ),
        (
            rows.read_messages,
            {"messages": [USER, {"role": "system", "content": "S"}, REPLY]},
            "message 1 is a system text behind the start",
        ),
        (
            rows.read_messages,
            {"messages": [{"role": "user"}, REPLY]},
            "message 0 has no role and content",
        ),
        (
            rows.read_messages,
            {"messages": [{"role": "user", "content": [{"type": "video"}]}, REPLY]},
            "neither text nor picture",
        ),
        (rows.read_messages, {"messages": "Q?"}, "expected a list of messages"),
        (rows.read_messages, {"messages": []}, "expected a list of messages"),
        # no question or no answer
        (rows.read_messages, {"messages": [USER]}, "no answer"),
        (rows.read_messages, {"messages": [REPLY]}, "no question"),
        (rows.read_trl, {"prompt": [USER, REPLY, REPLY], "solution": "1"}, "no question"),
        (rows.read_trl, {"prompt": [USER]}, "no solution or answer"),
        (rows.read_canonical, {"question": "Q", "answer": None}, "answer is empty (null)"),
        (rows.read_canonical, {"question": "Q"}, "no answer or solution; there is question"),
        (
            rows.read_canonical,
            {"question": "Q", "answer": float("nan")},
            "answer is empty (NaN)",
        ),
        (rows.read_trl, {"prompt": "Q", "solution": float("inf")}, "solution is no finite number"),
        (rows.read_verl, {"prompt": [USER], "reward_model": {"style": "rule"}}, "no ground_truth"),
        (rows.read_verl, {"prompt": [USER], "reward_model": "rule"}, "no ground_truth"),
        # ms-swift's marks
        (
            rows.read_swift,
            {"messages": [{"role": "user", "content": "the <ref-object>"}, REPLY]},
            "1 marks <ref-object> for the names",
        ),
        (
            rows.read_swift,
            {
                "messages": [{"role": "user", "content": "in <bbox>?"}, REPLY],
                "objects": {"bbox": [[1, 2, 3, 4]]},
            },
            "<bbox> before the last reply",
        ),
        (
            rows.read_swift,
            {
                "messages": [USER, {"role": "assistant", "content": "<bbox>"}],
                "objects": {"bbox": [[1, 2, 3, 4]] * 2},
            },
            "1 marks <bbox> for 2 boxes",
        ),
        (
            rows.read_swift,
            {"messages": [USER], "objects": {"bbox": [[1, 2, 3, 4]], "bbox_type": "xywh"}},
            "bbox_type real or norm1",
        ),
        (
            rows.read_swift,
            {"messages": [USER], "objects": {"bbox": [[1, 2, 3, 4]], "image_id": [1]}},
            "the first picture alone",
        ),
        # what a fuzzer wrote: objects that are none, names that are no list, no turn at all
        (
            rows.read_swift,
            {"messages": [USER, REPLY], "objects": {"ref": 3}},
            "expected lists ref and bbox",
        ),
        (
            rows.read_swift,
            {"messages": [USER], "objects": {"bbox": 7}},
            "expected lists ref and bbox",
        ),
        (rows.read_swift, {"messages": [{"role": "system", "content": "S"}]}, "no answer"),
        # boxes that no mark asks for
        (
            rows.read_swift,
            {"messages": [USER, REPLY], "objects": {"bbox": [[1, 2, 3, 4]]}},
            "0 marks <bbox> for 1 boxes",
        ),
        # null within, as pandas writes it, and infinity
        (rows.read_verl, {"prompt": "Q", "reward_model": {"ground_truth": NAN}}, "no ground_truth"),
        (
            rows.read_verl,
            {"prompt": "Q", "reward_model": {"ground_truth": float("inf")}},
            "reward_model.ground_truth is no finite number",
        ),
        # messages in Python's writing
        (
            rows.read_trl,
            {"prompt": "[{'role': 'user', 'content': 'Q'}]", "solution": "1"},
            "prompt holds messages in Python's writing",
        ),
        # options
        (
            rows.read_canonical,
            {"question": "Q", "answer": "A", "options": "cup, jug"},
            "expected a list of texts",
        ),
        (
            rows.read_canonical,
            {"question": "Q", "answer": "A", "options": {"B": "jug", "A": "cup"}},
            "by letters from A",
        ),
    ],
)
def test_a_row_that_is_not_understood_is_refused_by_name(
    read: Callable[[Record], Row], values: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UserError, match=r"^rows\.jsonl: line 3: ") as error:
        rows.with_places(read(record(**values)))
    assert complaint in str(error.value)


def test_names_of_objects_stand_where_swift_marks_them() -> None:
    said = [{"role": "user", "content": "<ref-object> or <ref-object>?"}]
    row = rows.read_swift(record(messages=said, objects={"ref": ["cup", "jug"]}, solution="cup"))
    assert (row.question, row.answer, row.unit) == ("cup or jug?", "cup", None)


def test_a_place_in_the_row_says_how_its_boxes_are_written() -> None:
    objects = {"bbox": [[0.1, 0.2, 0.3, 0.4]], "bbox_type": "norm1"}
    row = rows.read_swift(record(messages=[USER], images=["a.png"], objects=objects))
    assert (row.unit, row.answer) == ("fractions", [[0.1, 0.2, 0.3, 0.4]])


def test_options_that_are_pictures_count_as_places() -> None:
    values = {"question": "<image> Which?", "answer": "A", "images": ["a", "b", "c"]}
    row = rows.read_canonical(record(**values, options=["<image>", "<image>"]))
    assert rows.with_places(row) == row
    with pytest.raises(UserError, match=r"2 places <image> for 3 pictures"):
        rows.with_places(rows.read_canonical(record(**values, options=["<image>", "none"])))


def test_a_derivation_beside_its_result_is_not_taken_for_it() -> None:
    both = {"problem": "?", "solution": "As 1 + 1 is 2, it is 2.", "answer": "2"}
    with pytest.raises(UserError, match=r"line 3: solution and answer differ; .*=answer or"):
        rows.read_problem(record(**both))
    with pytest.raises(UserError, match=r"line 3: solution and answer differ"):
        rows.read_trl(record(prompt="?", solution="long", answer="2"))
    for column, answer in (("answer", "2"), ("solution", both["solution"])):
        named = Record(both, "rows.jsonl: line 3", 2, (), {"solution": column})
        assert rows.read_problem(named).answer == answer
    # tags say which part is the answer, and equal ones are one
    tagged = both | {"solution": "<think>...</think><answer>2</answer>", "answer": "two"}
    assert rows.read_problem(record(**tagged)).answer == "2"
    assert rows.read_problem(record(**both | {"solution": " 2 "})).answer == "2"


@pytest.mark.parametrize("read", [rows.read_swift, rows.read_messages])
def test_beside_messages_a_derivation_is_not_taken_for_the_answer(
    read: Callable[[Record], Row],
) -> None:
    both = {"messages": [USER], "solution": "There are two and one, so 3.", "answer": "3"}
    with pytest.raises(UserError, match=r"line 3: solution and answer differ; .*=answer or"):
        read(record(**both))
    named = Record(both, "rows.jsonl: line 3", 2, (), {"solution": "answer"})
    assert read(named).answer == "3"
    assert read(record(**both | {"solution": "3"})).answer == "3"
    # a reply answers where there is no solution
    assert (
        read(record(messages=[USER, REPLY], solution=None, answer="3")).answer == REPLY["content"]
    )


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_system_text_is_none(blank: str) -> None:
    said = [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
    alone = rows.read_canonical(record(question="Q?", answer="A", system=blank))
    talk = rows.read_conversations(record(conversations=said, system=blank))
    message = rows.read_messages(
        record(messages=[{"role": "system", "content": blank}, USER, REPLY])
    )
    assert alone.system is talk.system is message.system is None
    # nor does it hide that of the turns
    told = [{"from": "system", "value": "Be brief."}, *said]
    row = rows.read_conversations(record(conversations=told, system=blank))
    assert row.system == "Be brief."
