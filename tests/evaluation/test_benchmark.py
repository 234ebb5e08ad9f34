import re
from pathlib import Path

import pytest

from vrft import paths
from vrft.config import coercion
from vrft.errors import UserError
from vrft.evaluation import results
from vrft.evaluation.benchmark import Benchmark, load_benchmark


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_shipped_benchmark_loads_with_a_title_and_greedy_but_for_math() -> None:
    for name in paths.names("benchmarks"):
        benchmark = load_benchmark(name, data_dir=None if "demo" in name else "/data")
        assert benchmark.name == name and benchmark.title
        sampled = benchmark.task.name == "math" and "demo" not in name
        assert (benchmark.sampling.temperature == 0.0) == (not sampled)


def test_the_papers_numbers_stand_where_the_papers_data_is_and_nowhere_else() -> None:
    val = load_benchmark("lisa_val", data_dir="/data")
    test = load_benchmark("lisa_test", data_dir="/data")
    # Table of the paper, LISA mIoU: base, SFT, GRPO, GPG.
    assert val.paper == {"base": 30.1, "sft": 29.7, "grpo": 34.4, "gpg": 53.4}
    assert test.paper == {"base": 26.9, "sft": 28.3, "grpo": 37.6, "gpg": 51.5}
    assert {val.sampling.max_completion_length, test.sampling.max_completion_length} == {128}
    # LISA gIoU of masks, published for test alone.
    gious = {"base": 25.3, "sft": 25.3, "grpo": 34.4, "gpg": 49.5}
    assert (test.paper_by_metric, val.paper_by_metric) == ({"mask_giou": gious}, {})
    for name in paths.names("benchmarks"):
        demo = "demo" in name
        benchmark = load_benchmark(name, data_dir=None if demo else "/data")
        assert demo == (benchmark.task.settings["data_dir"] == "demo")
        assert not (demo and benchmark.paper)


def test_a_benchmark_without_its_data_says_what_to_give() -> None:
    with pytest.raises(UserError, match="lisa_val: give its data with --data DIR: the ReasonSeg"):
        load_benchmark("lisa_val")


def test_overrides_and_data_reach_the_benchmark() -> None:
    benchmark = load_benchmark(
        "lisa_val", ["sampling.max_completion_length=9", "task.system=Hi", "split=test"], "/nowhere"
    )
    assert (benchmark.sampling.max_completion_length, benchmark.split) == (9, "test")
    assert benchmark.task.settings == {"system": "Hi", "data_dir": "/nowhere"}


def test_names_of_columns_reach_the_benchmarks_task() -> None:
    benchmark = load_benchmark("lisa_val", ["data.columns.image=img"], "/nowhere")
    assert benchmark.task.settings == {"columns": {"image": "img"}, "data_dir": "/nowhere"}
    assert benchmark.data.startswith("the ReasonSeg folder")


def test_paths_become_absolute_so_that_results_can_be_shown_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ReasonSeg").mkdir()
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark("lisa_val", ["task.name=mine.py"], "ReasonSeg")
    assert benchmark.task.settings["data_dir"] == str(tmp_path / "ReasonSeg")
    assert benchmark.task.name == str(tmp_path / "mine.py")
    # `demo` always means the demo's data, whatever folder is there.
    assert load_benchmark("demo_grounding").task.settings["data_dir"] == "demo"


def test_a_link_to_data_is_not_followed_as_its_target_may_have_lost_its_ending(
    tmp_path: Path,
) -> None:
    (tmp_path / "a3f5").write_text("{}")
    link = tmp_path / "test.jsonl"
    link.symlink_to(tmp_path / "a3f5")
    assert load_benchmark("lisa_val", [], str(link)).task.settings["data_dir"] == str(link)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("splitt: val", "unknown setting splitt; did you mean split"),
        ("sampling: {temprature: 1}", "did you mean sampling.temperature"),
        ("repeats: many", "repeats: expected int, got 'many'"),
        ("repeats: 0", "mine: repeats=0"),
        ("repeats: 4", "mine: 4 greedy answers to a question are all the same"),
        ("paper: {gpg: high}", "paper.gpg: expected float"),
    ],
)
def test_a_mistake_in_a_benchmark_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_benchmark(write(tmp_path / "mine.yaml", text))


def test_an_unknown_benchmark_gets_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'lisa_val'"):
        load_benchmark("lisa_vall")


def test_a_benchmark_survives_being_written_to_settings(tmp_path: Path) -> None:
    text = "task: {name: lisa_grounding, system: Hi}\nrepeats: 2\nsampling: {temperature: 1}"
    benchmark = load_benchmark(write(tmp_path / "mine.yaml", text))
    assert coercion.build(Benchmark, coercion.to_plain(benchmark)) == benchmark


@pytest.mark.parametrize(
    ("name", "settings", "data_dir", "samples", "limit", "reason"),
    [
        # the published data: those of the file, or given where the file asks for them
        ("cvbench", [], None, 2638, None, ""),
        ("lisa_val", [], "/data/ReasonSeg", 200, None, ""),
        ("lisa_val", ["task.system=Hi"], "/data/ReasonSeg", 200, None, ""),
        # a limit
        ("lisa_val", [], "/data", 20, 20, "only the first 20 samples were asked"),
        # own data, by their number or because the file has its own
        ("lisa_val", [], "/mine", 4, None, "the published data have 200 samples, these 4"),
        ("cvbench", [], "/mine", 2638, None, "task.data_dir=/mine gives other data"),
        ("math500", ["task.data_dir=me/math"], None, 500, None, "task.data_dir=me/math gives"),
        ("cvbench", ["split=train"], None, 2638, None, "split=train gives other data"),
        ("cvbench", ["task.name=vqa"], None, 2638, None, "task.name=vqa gives other data"),
        # another set of the same task, or a part of the data
        ("flowers102", ["task.dataset=pets37"], "/d", 3669, None, "have 2463 samples, these 3669"),
        ("cvbench", ["task.rows=100"], None, 100, None, "the published data have 2638 samples"),
        # another decoding; repeats alone are other draws from the same
        ("cvbench", ["sampling.temperature=1.0"], None, 2638, None, "sampling.temperature=1.0 is"),
        ("cvbench", ["sampling.temperature=0"], None, 2638, None, ""),
        ("cvbench", ["sampling.max_completion_length=8"], None, 2638, None, "_length=8 is not how"),
        ("math500", ["sampling.top_p=1"], None, 500, None, "sampling.top_p=1.0 is not how"),
        ("cvbench", ["sampling.max_prompt_length=null"], None, 2638, None, ""),
        ("aime24", ["repeats=1"], None, 30, None, ""),
        # no published values that could be left out
        ("demo_grounding", [], None, 4, 4, ""),
    ],
)
def test_published_values_are_left_out_beside_other_data(
    name: str, settings: list[str], data_dir: str | None, samples: int, limit: int | None,
    reason: str,
) -> None:  # fmt: skip
    why = load_benchmark(name, settings, data_dir).why_unpublished(samples, limit)
    assert reason in why and bool(why) == bool(reason)


def test_published_values_are_left_out_beside_blanked_pictures_and_a_servers_own_decoding() -> None:
    benchmark = load_benchmark("cvbench")
    for settings, reason in (
        ({}, ""),
        ({"blank_images": False, "endpoint": {"omit": ["seed"]}}, ""),
        ({"blank_images": True}, "the pictures were blanked"),
        ({"endpoint": {"omit": ["temperature", "seed"]}}, "decoded by its own temperature"),
        ({"endpoint": 7}, ""),  # of another tool
    ):
        why = results.why_unpublished(benchmark, 2638, settings)
        assert reason in why and bool(why) == bool(reason), settings


def test_every_benchmark_with_published_values_says_how_many_samples_they_are_of() -> None:
    for name in paths.names("benchmarks"):
        benchmark = load_benchmark(name, data_dir=None if "demo" in name else "/data")
        assert bool(benchmark.paper) == (benchmark.paper_samples > 0)
        # the titles of most name the number as well
        numbers = re.findall(r"\((\d+) (?:pictures|problems|questions)", benchmark.title)
        assert not benchmark.paper or numbers in ([], [str(benchmark.paper_samples)])
