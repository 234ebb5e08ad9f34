"""A configuration for every training run in the paper's tables and in the README of its code.

Each resolves by ``vrft train --dry-run`` with a tiny model of its family and a few rows in the form
of its data. What that cannot tell offline is whether the hub still has the models and data sets
under these names and columns, and whether every prompt of the full data keeps the limit.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.folders import RECORDS, ROOT
from PIL import Image

from vrft import cli, config, paths
from vrft.cli import arguments, configuration
from vrft.config.methods import METHODS
from vrft.config.schema import Config
from vrft.evaluation.benchmark import load_benchmark
from vrft_tasks.fewshot_classification import LABELS

TARGETS = {
    # Table 2, average of five sets of mathematics
    "table2_rs1_grpo": "53.1",
    "table2_rs1_gpg": "55.7",
    # Table 3, the same average
    "table3_math7b_grpo": "43.7",
    "table3_math7b_dr_grpo": "43.7",
    "table3_math7b_gpg": "45.3",
    # Table 4, what Table 2 has not
    "table4_rs3_grpo": "52.0",
    "table4_rs3_gpg": "55.5",
    # Table 5, CV-Bench total
    "table5_spatial_sft": "57.84",
    "table5_spatial_grpo": "59.47",
    "table5_spatial_gpg": "69.11",
    # Table 6, GEOQA test
    "table6_geoqa_grpo": "47.48",
    "table6_geoqa_gpg": "50.80",
    # Table 7, mIoU on LISA's test
    "table7_lisa_sft": "28.3",
    "table7_lisa_grpo": "37.6",
    "table7_lisa_gpg": "51.5",
    # Table 8, 4 shots
    "table8_flowers102_sft": "58.5",
    "table8_flowers102_grpo": "71.4",
    "table8_flowers102_gpg": "73.0",
    "table8_pets37_sft": "55.5",
    "table8_pets37_grpo": "86.1",
    "table8_pets37_gpg": "87.1",
    "table8_fgvc_aircraft_sft": "67.9",
    "table8_fgvc_aircraft_grpo": "74.8",
    "table8_fgvc_aircraft_gpg": "86.8",
    "table8_cars196_sft": "40.5",
    "table8_cars196_grpo": "95.3",
    "table8_cars196_gpg": "97.1",
    # Table 9, size of the group
    "table9_math7b_gpg_g2": "41.9",
    "table9_math7b_gpg_g4": "43.3",
    "table9_math7b_gpg_g8": "45.3",
    "table9_math7b_gpg_g16": "47.3",
    # Table 10, normalisation of rewards, and KL
    "table10_math7b_gpg_group": "45.3",
    "table10_math7b_gpg_batch": "44.9",
    "table10_math7b_gpg_kl": "43.7",
    # README of the code: CV-Bench total, then averages of mathematics
    "readme_spatial_gpg": "76.15",
    "readme_math7b_gpg_f_norm": "43.9",
    "readme_math7b_gpg_alpha": "47.8",
    "readme_math7b_gpg_beta_th": "48.3",
    "readme_level3to5_gpg": "57.7",
}
VISUAL = [name for name in TARGETS if re.match("table[5-8]", name)]
MATH = [name for name in TARGETS if re.search("_(math7b|rs[13]|level3to5)_", name)]

every = pytest.mark.parametrize("name", TARGETS)


def load(name: str) -> Config:
    return config.load(f"paper/{name}")


def header(name: str, folder: str = "paper/") -> str:
    """The comment that a file begins with, without its marks."""
    lines = paths.find("configs", f"{folder}{name}").read_text(encoding="utf-8").splitlines()
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


def prose(name: str, folder: str = "paper/") -> str:
    return " ".join(header(name, folder).split())


def method(name: str) -> str:
    """The method that a file is named after: the longest, as dr_grpo ends in grpo."""
    found = [row for row in METHODS if f"_{row}_" in f"{name}_"]
    return max(found, key=len)


def test_every_row_that_is_a_training_run_has_its_configuration() -> None:
    shipped = {name for name in paths.names("configs") if name.startswith("paper/")}
    assert shipped == {f"paper/{name}" for name in TARGETS}


# What the headers say


@every
def test_the_header_names_its_table_and_the_number_aimed_at(name: str) -> None:
    table = re.match(r"table(\d+)_|readme_", name)
    assert table is not None
    whose = f"Table {table[1]}, " if table[1] else "README of the paper's code, "
    assert header(name).startswith(whose)
    aim = re.search(r"Number aimed at: (?:accuracy |box mIoU )?(\d+\.\d+)\b", prose(name))
    assert aim is not None
    assert aim[1] == TARGETS[name]


@every
def test_the_header_says_on_how_many_devices_or_that_nobody_does(name: str) -> None:
    hardware = re.search("^Hardware: (.*?)^Number", header(name), re.MULTILINE | re.DOTALL)
    assert hardware is not None
    said = re.match(r"(\d+) CUDA devices", hardware[1])
    launched = re.search(r"--num_processes (\d+)", header(name))
    if said is None:
        assert "how many," in hardware[1]
        assert "does not say" in hardware[1]
        assert launched is None
    else:
        assert launched is not None
        assert launched[1] == said[1]


@every
def test_the_commands_of_the_header_are_about_this_configuration(name: str) -> None:
    lines = [line.strip() for line in header(name).splitlines() if line.startswith("  ")]
    plain, spread, *evaluations = lines
    assert plain.startswith("vrft train ")
    assert re.match(r"accelerate launch (--num_processes \d+ )?-m vrft train ", spread)
    for line in (plain, spread):
        args = arguments.parse(shlex.split(line.partition("vrft ")[2]))
        assert (args.command, args.config) == ("train", f"paper/{name}")
        # nothing but where the data lies is left to the command line
        assert all(setting.startswith("task.data_dir=") for setting in args.settings)
        assert configuration.resolve(args).algorithm == load(name).algorithm
    assert evaluations
    for line in evaluations:
        args = arguments.parse(shlex.split(line)[1:])
        assert (args.command, args.model) == ("eval", "RUN/final")
        benchmark = load_benchmark(args.benchmark, args.settings, args.data)
        assert benchmark.task.name == load(name).task.name


@pytest.mark.parametrize("name", VISUAL)
def test_the_benchmark_of_the_header_knows_the_same_number(name: str) -> None:
    asked = re.findall(r"vrft eval --benchmark (\w+)", header(name))
    for benchmark in asked:
        published = load_benchmark(benchmark, data_dir="here").paper[method(name)]
        assert re.search(rf"\b{published}0?\b", prose(name).partition("To measure")[0])


@pytest.mark.parametrize("name", MATH)
def test_the_average_is_that_of_the_five_sets(name: str) -> None:
    sets = ("aime24", "math500", "amc23", "minerva", "olympiadbench")
    values = [re.search(rf"\b{one} (\d+\.\d)\b", prose(name)) for one in sets]
    mean = sum(float(value[1]) for value in values if value is not None) / 5
    assert mean == pytest.approx(float(TARGETS[name]), abs=0.1)  # 48.38 is printed as 48.3


@pytest.mark.parametrize("name", [name for name in TARGETS if "_spatial_" in name])
def test_the_total_is_that_of_all_questions(name: str) -> None:
    counts = {"Count": 788, "Relation": 650, "Depth": 600, "Distance": 600}  # 2638 questions
    right = 0.0
    for part, count in counts.items():
        value = re.search(rf"\b{part} (\d+\.\d\d)\b", prose(name))
        assert value is not None
        right += count * float(value[1])
    assert right / 2638 == pytest.approx(float(TARGETS[name]), abs=0.01)


NUMBER = r"(\d+\.\d+)"


def rows_of_the_page() -> list[tuple[str, list[str]]]:
    """The rows of docs/paper.md that name a configuration: its name, and the numbers behind it."""
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| [^|]+ \| `(\w+_gpg\w*)`[^|]*\|(.*)\|$", page, re.MULTILINE)
    return [(name, re.findall(NUMBER, numbers)) for name, numbers in lines]


def test_the_page_has_every_configuration_of_gpg_that_a_later_version_has_a_number_of() -> None:
    named = {name for name, _ in rows_of_the_page()}
    later = {name for name in TARGETS if "Version 4" in prose(name)}
    assert later - {"readme_spatial_gpg"} == named  # which stands beside version 1's
    assert len(rows_of_the_page()) == 14


@pytest.mark.parametrize(("name", "numbers"), rows_of_the_page())
def test_a_header_says_what_the_page_says_of_both_versions(name: str, numbers: list[str]) -> None:
    aim, _, later = prose(name).partition("Version 4 of the paper")
    if len(numbers) == 1:  # mathematics: one number, of all versions, or a review's
        assert numbers[0] in (TARGETS[name], "44.1")
    else:
        assert re.search(rf"\b{numbers[-2]}\b", aim)
        assert re.search(rf"\b{numbers[0]}\b", aim)
    assert numbers[-1] == "44.1" or re.search(rf"\b{numbers[-1]}\b", later.partition(")")[0])


def parents(name: str) -> list[str]:
    """The shipped configurations that a file extends, one behind the other."""
    names: list[str] = []
    while True:
        text = paths.find("configs", name).read_text(encoding="utf-8")
        parent = re.search(r"^extends: (\S+)$", text, re.MULTILINE)
        if parent is None:
            return names
        name = parent[1]
        names.append(name)


OF_A_TASK = [
    (parent, name, numbers)
    for name, numbers in rows_of_the_page()
    for parent in parents(f"paper/{name}")
    # That of all few-shot sets is the run on flowers.
    if len(numbers) > 1 and (parent != "fewshot_classification" or "flowers102" in name)
]


@pytest.mark.parametrize(("parent", "name", "numbers"), OF_A_TASK)
def test_a_tasks_own_configuration_aims_at_the_number_of_the_version_that_it_sets(
    parent: str, name: str, numbers: list[str]
) -> None:
    said = prose(parent, "").partition("Number aimed at: ")[2]
    aim, _, other = said.partition("(Version ")
    got = config.load(parent).algorithm
    assert (got.f_norm, got.alpha, got.min_informative) in (
        ("group_std", False, 0.0),
        ("none", True, 0.4),
    )
    first, fourth = numbers[-2:]
    assert re.search(rf"\b{fourth if got.alpha else first}\b", aim)
    assert re.search(rf"\b{first if got.alpha else fourth}\b", other)
    assert other.startswith("4 of the paper" if got.alpha else "1 of the paper")
    assert not got.alpha or f"paper/{name}" in other
    assert got.alpha or load(name).algorithm == got


def test_every_configuration_of_a_task_that_the_paper_has_a_number_of_is_looked_at() -> None:
    shots = {f"fewshot_classification/{name}" for name in ("flowers102", "pets37", "cars196")}
    assert {parent for parent, _, _ in OF_A_TASK} == {
        *("spatial", "geoqa", "lisa_grounding", "fewshot_classification"), *shots,
        "fewshot_classification/fgvc_aircraft",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "numbers"),
    [row for row in rows_of_the_page() if row[0] not in ("table7_lisa_gpg",) and len(row[1]) > 1],
)
def test_baselines_on_the_page_are_those_of_their_configurations(
    name: str, numbers: list[str]
) -> None:
    others = [name.replace("_gpg", f"_{row}") for row in ("sft", "grpo")]
    assert numbers[1:-2] == [TARGETS[other] for other in others if other in TARGETS]


@pytest.mark.parametrize(
    ("benchmark", "metric", "place"), [("lisa_test", "", 2), ("lisa_val", "", 3),
                                       ("lisa_test", "mask_giou", 4)]
)  # fmt: skip
def test_the_page_has_of_grounding_what_the_benchmarks_have(
    benchmark: str, metric: str, place: int
) -> None:
    known = load_benchmark(benchmark, data_dir="here")
    published = known.paper_by_metric[metric] if metric else known.paper
    numbers = rows_of_the_page()[place][1]
    assert [float(number) for number in numbers[:-1]] == [
        published[row] for row in ("base", "sft", "grpo", "gpg")
    ]


# What they set


@every
def test_the_algorithm_is_the_one_in_the_name(name: str) -> None:
    assert load(name).algorithm.name == method(name)


@pytest.mark.parametrize("name", [name for name in TARGETS if method(name) == "gpg"])
def test_gpg_is_that_of_the_paper_unless_the_row_is_about_something_else(name: str) -> None:
    got = load(name).algorithm
    assert (got.surrogate, got.baseline, got.num_iterations) == ("policy_gradient", "group_mean", 1)
    changed = {
        "table10_math7b_gpg_batch": ("batch_std", False, 0.0, 0.0),
        "table10_math7b_gpg_kl": ("group_std", False, 0.0, 0.04),
        "readme_spatial_gpg": ("none", True, 0.4, 0.0),
        "readme_math7b_gpg_f_norm": ("none", False, 0.0, 0.0),
        "readme_math7b_gpg_alpha": ("none", True, 0.0, 0.0),
        "readme_math7b_gpg_beta_th": ("none", True, 0.6, 0.0),
        "readme_level3to5_gpg": ("none", True, 0.5, 0.0),
    }
    expected = changed.get(name, ("group_std", False, 0.0, 0.0))
    assert (got.f_norm, got.alpha, got.min_informative, got.beta) == expected


@pytest.mark.parametrize("name", [name for name in TARGETS if method(name) in ("grpo", "dr_grpo")])
def test_a_baseline_keeps_nothing_of_gpg(name: str) -> None:
    """Its own advantage and KL, every group in the mean, and the task's mean over tokens."""
    got = load(name).algorithm
    grpo = method(name) == "grpo"
    assert (got.f_norm, got.beta) == (("group_std", 0.04) if grpo else ("none", 0.0))
    assert (got.surrogate, got.alpha, got.min_informative) == ("clipped", False, 0.0)
    assert got.token_mean == ("sequence" if name in VISUAL else "group")


@pytest.mark.parametrize("name", [name for name in TARGETS if method(name) != "gpg"])
def test_a_baseline_differs_from_gpg_in_nothing_but_the_algorithm_and_steps(name: str) -> None:
    """The same task and model, as many completions of a prompt, the same sampling."""
    baseline = load(name)
    other = load(name.replace(f"_{method(name)}", "_gpg"))
    assert baseline.model == other.model
    assert baseline.sampling == other.sampling
    assert baseline.algorithm.num_generations == other.algorithm.num_generations
    assert baseline.task.name == other.task.name
    of_data = ("data_dir", "dataset", "rows", "single_image", "shots", "style", "template")
    for setting in of_data:
        assert baseline.task.settings.get(setting) == other.task.settings.get(setting)


def test_groups_of_every_size_make_as_many_completions_a_step() -> None:
    for size in (2, 4, 8, 16):
        got = load(f"table9_math7b_gpg_g{size}")
        assert got.algorithm.num_generations == size
        prompts = got.train.per_device_train_batch_size * got.train.gradient_accumulation_steps
        assert prompts * size == 64  # on each of 8 devices: 16 in each of 4 micro-batches


# That they run


def few_rows(got: Config, folder: Path) -> Path:
    """Some rows in the form of the data that a configuration trains on."""
    settings = got.task.settings
    if got.task.name == "fewshot_classification":
        names = (LABELS / f"{settings['dataset']}.txt").read_text(encoding="utf-8").splitlines()
        for name in names[:2]:
            place = folder / "train" / name.partition("|")[0].strip()
            place.mkdir(parents=True)
            Image.new("RGB", (56, 56), "green").save(place / "1.png")
        return folder
    if settings.get("data_dir") == "simplelr_qwen_level3to5":
        row = {"question": "What is $3^2$?", "gt_answer": "9", "target": "9", "level": "Level 3"}
        (folder / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
        return folder
    kept = {
        "spatial": "spatial",
        "geoqa": "geoqa",
        "lisa_grounding": "reasonseg",
        "math": "math/open_s1",
    }
    lighteval = "lighteval" in str(settings.get("data_dir"))
    return RECORDS / ("math/math_lighteval" if lighteval else kept[got.task.name])


def family(got: Config) -> str:
    if "Qwen2.5-VL" in got.model.name:
        return "qwen2_5_vl"
    return "qwen2_vl" if "Qwen2-VL" in got.model.name else "qwen2"


@every
def test_it_resolves(
    name: str,
    tmp_path: Path,
    model_folder: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got = load(name)
    data, model = few_rows(got, tmp_path), model_folder(family(got))
    monkeypatch.chdir(tmp_path)
    argv = ["train", "--config", f"paper/{name}", "--dry-run"]
    assert cli.main([*argv, f"model={model}", f"task.data_dir={data}"]) == 0
    plan = capsys.readouterr().out
    prompts = got.train.per_device_train_batch_size * got.train.gradient_accumulation_steps
    assert f"task       {got.task.name}: " in plan
    completions = f" x {got.algorithm.num_generations} completions"
    assert f"{prompts} prompts{completions * (got.algorithm.name != 'sft')}" in plan
    assert f"at learning rate {got.train.learning_rate:g}" in plan
    assert not (tmp_path / "runs").exists()  # nothing was trained
