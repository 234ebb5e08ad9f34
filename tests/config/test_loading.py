"""Configuration: order of precedence, coercion, and one clear line for every mistake."""

import json
from pathlib import Path
from typing import Any

import pytest

from vrft import config, paths
from vrft.config.loading import flat
from vrft.config.schema import Config, ModelConfig
from vrft.errors import UserError


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_without_a_source_the_defaults_hold() -> None:
    assert config.load() == Config()


def test_every_text_is_read_back_from_the_setting_that_is_written_of_it() -> None:
    # Every letter of two bytes, the halves of surrogate pairs among them, emoji, and YAML's marks.
    letters = "".join(map(chr, range(0x10000)))
    texts = [letters, "\U0001f600\U0010ffff", "\ud83d\ude00", "", " a # b: c ", "\x85", "~", "null"]
    for value in (*texts, texts, {"template": "\U0001f600 \x7f"}, 1, 0.5, 1e-7, True, None):
        override = config.to_override("task.given", value)
        read = config.load(None, [override]).task.settings["given"]
        assert read == value or (float(read), value) == (1e-7, 1e-7)  # a text to YAML 1.1
    # a letter that needs no escape stands as it is typed
    assert config.to_override("task.names", ["ä\U0001f600"]) == 'task.names=["ä\U0001f600"]'


def test_later_sources_win(tmp_path: Path) -> None:
    write(
        tmp_path / "parent.yaml",
        "train: {max_steps: 1, seed: 1, save_steps: 1}\nsampling: {top_k: 5}\n",
    )
    child = write(
        tmp_path / "child.yaml", "extends: parent.yaml\ntrain: {seed: 2, save_steps: 2}\n"
    )
    got = config.load(child, ["train.save_steps=3"])
    assert (got.train.max_steps, got.train.seed, got.train.save_steps) == (1, 2, 3)
    assert got.sampling.top_k == 5
    assert got.train.learning_rate == Config().train.learning_rate  # nobody set it


def test_a_file_can_extend_a_shipped_configuration(tmp_path: Path) -> None:
    child = write(tmp_path / "child.yaml", "extends: demo/lisa_grounding\ntrain: {seed: 7}\n")
    got = config.load(child)
    assert got.train.seed == 7
    assert got.model.name == "demo"


def test_a_circle_of_parents_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "a.yaml", "extends: b.yaml\n")
    write(tmp_path / "b.yaml", "extends: a.yaml\n")
    with pytest.raises(UserError, match="extends itself"):
        config.load(str(tmp_path / "a.yaml"))


@pytest.mark.parametrize("name", paths.names("configs"))
def test_every_shipped_configuration_loads_and_survives_the_round_trip(
    name: str, tmp_path: Path
) -> None:
    loaded = config.load(name)
    again = config.load(write(tmp_path / "again.yaml", config.to_yaml(loaded)))
    assert again == loaded


@pytest.mark.parametrize("name", paths.names("configs"))
def test_flat_settings_given_one_by_one_make_the_configuration_again(name: str) -> None:
    loaded = config.load(name)
    leaves = flat(loaded)
    assert all(isinstance(value, str | int | float | bool | None) for value in leaves.values())
    assert leaves["task.name"] == loaded.task.name  # a task's settings stand beside its name
    # lists and empty mappings are texts of JSON already
    texts = [
        f"{key}={value if str(value).startswith('[') or value == '{}' else json.dumps(value)}"
        for key, value in leaves.items()
    ]
    assert config.load(None, texts) == loaded


@pytest.mark.parametrize("name", paths.names("configs"))
def test_every_shipped_configuration_says_how_it_is_launched(name: str) -> None:
    header = paths.find("configs", name).read_text(encoding="utf-8").split("\n\n")[0]
    assert header.startswith("#")
    assert "vrft train" in header or "python -m vrft.demo" in header


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        # YAML 1.1 reads 1e-6 as text
        ("train.learning_rate=1e-6", "train", "learning_rate", 1e-6),
        # an integer is a number too
        ("sampling.temperature=1", "sampling", "temperature", 1.0),
        # a whole number written with a point
        ("train.max_steps=2.0", "train", "max_steps", 2),
        # null for a setting that may be None, and a value for it
        ("sampling.max_prompt_length=null", "sampling", "max_prompt_length", None),
        ("model.max_pixels=401408", "model", "max_pixels", 401408),
        # one of a choice
        ("algorithm.f_norm=none", "algorithm", "f_norm", "none"),
        # a list, and a single item for a list
        ("train.report_to=[tensorboard, wandb]", "train", "report_to", ("tensorboard", "wandb")),
        ("train.report_to=wandb", "train", "report_to", ("wandb",)),
        # a mapping, whole and by its key
        ("algorithm.reward_weights={iou: 2}", "algorithm", "reward_weights", {"iou": 2.0}),
        ("algorithm.reward_weights.iou=2", "algorithm", "reward_weights", {"iou": 2.0}),
        # a number where text is wanted
        ("model.name=7", "model", "name", "7"),
        # an equals sign in the value
        ("train.output_dir=runs/a=b", "train", "output_dir", "runs/a=b"),
        # nothing after the equals sign is empty text
        ("train.output_dir=", "train", "output_dir", ""),
        # a boolean
        ("algorithm.alpha=true", "algorithm", "alpha", True),
    ],
)
def test_an_override_is_read_as_the_type_of_its_setting(
    override: str, section: str, field: str, value: Any
) -> None:
    got = getattr(getattr(config.load(None, [override]), section), field)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # a slip of the finger in a leaf, in a section, and nothing like any setting
        ("train.learning_rat=1", r"train.learning_rat; did you mean train.learning_rate\?"),
        ("trian.seed=1", r"unknown setting trian; did you mean train\?"),
        # the names of TRL's GRPOConfig, which has no sections
        ("train.beta=1", r"train.beta; did you mean algorithm\.beta\?"),
        ("train.num_generations=2", r"did you mean algorithm\.num_generations\?"),
        ("train.max_completion_length=9", r"did you mean sampling\.max_completion_length\?"),
        ("train.gradient_checkpointing=true", r"did you mean model\.gradient_checkpointing\?"),
        ("max_steps=3", r"unknown setting max_steps; did you mean train\.max_steps\?"),
        ("lora.r=8", r"unknown setting lora; did you mean model\.lora or rollout\.vllm\.lora\?"),
        ("model.lora.rank=8", r"unknown setting model.lora.rank; known: r, lora_alpha"),
        # wrong types
        ("train.max_steps=many", "train.max_steps: expected int, got 'many'"),
        ("train.max_steps=1.5", "train.max_steps: expected int, got 1.5"),
        ("train.max_steps=true", "train.max_steps: expected int, got True"),
        ("train.learning_rate=", "train.learning_rate: expected float, got ''"),
        ("train.seed=null", "train.seed: expected int, got None"),
        ("train.seed=.nan", "train.seed: expected int, got nan"),
        ("algorithm.alpha=1", "algorithm.alpha: expected bool, got 1"),
        ("algorithm.f_norm=std", "'std' is not one of group_std, none, batch_std"),
        ("train=5", "train: expected TrainConfig, got 5"),
        ("task.settings=5", "task.settings: expected Mapping, got 5"),
        ("algorithm.reward_weights=5", "algorithm.reward_weights: expected"),
        # out of range: at, below, above, and not a number
        ("train.logging_steps=0", "train.logging_steps: expected at least 1, got 0"),
        ("train.weight_decay=-1", "train.weight_decay: expected at least 0, got -1"),
        ("train.learning_rate=-1", "train.learning_rate: expected at least 0 and at most 10"),
        ("train.learning_rate=1e3", "train.learning_rate: expected at least 0 and at most 10"),
        ("train.learning_rate=1e30", "train.learning_rate: expected at least 0 and at most 10"),
        ("train.learning_rate=.nan", "train.learning_rate: expected a finite number, got nan"),
        ("train.learning_rate=inf", "train.learning_rate: expected a finite number, got 'inf'"),
        ("algorithm.reward_weights.iou=.inf", "reward_weights.iou: expected a finite number"),
        ("algorithm.num_generations=0", "algorithm.num_generations: expected at least 1, got 0"),
        ("sampling.top_p=0", "sampling.top_p: expected above 0 and at most 1, got 0"),
        ("sampling.top_p=1.01", "sampling.top_p: expected above 0 and at most 1, got 1.01"),
        ("sampling.max_prompt_length=0", "max_prompt_length: expected at least 1, got 0"),
        ("algorithm=gpo", r"algorithm.name: 'gpo': did you mean '(gpg|ppo|grpo|gspo)'\?"),
        # not an override at all
        ("train.seed", "'train.seed': settings are given as key.path=value"),
        ("=5", "'=5': settings are given as key.path=value"),
        ("train.seed={", "train.seed: expected int, got '{'"),
        # a text that YAML takes for another value
        ("model.name=yes", "model.name: expected str, got True; put a text in quotes"),
        ("model.name=a: b", "model.name: expected str, got {'a': 'b'}; put a text in quotes"),
        ("train.seed=1:30", "train.seed: expected int, got '1:30'"),
    ],
)
def test_a_wrong_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.load(None, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # not YAML
        ("a: [1", "not readable YAML"),
        # YAML, but no settings
        ("- a\n- b\n", "expected `key: value` lines, got list"),
        # an object of Python's is never built
        ("a: !!python/object/apply:os.getcwd []\n", "not readable YAML"),
        # a parent that is not there
        ("extends: nobody\n", "unknown name 'nobody'"),
    ],
)
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        config.load(write(tmp_path / "bad.yaml", text))
    assert "\n" not in str(caught.value)


def test_text_that_is_not_utf8_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"task: caf\xe9\n")
    with pytest.raises(UserError, match=r"bad\.yaml: not readable YAML"):
        config.load(str(path))


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert config.load(write(tmp_path / "empty.yaml", "")) == Config()


def test_a_name_stands_for_its_section() -> None:
    got = config.load(None, ["model=Qwen/Qwen2-VL-7B-Instruct", "task=lisa_grounding"])
    assert got.model == ModelConfig(name="Qwen/Qwen2-VL-7B-Instruct")
    assert got.task.name == "lisa_grounding"


def test_a_name_for_a_section_keeps_the_settings_that_the_file_gave_it(tmp_path: Path) -> None:
    source = write(tmp_path / "a.yaml", "model: {name: a, dtype: float32}\n")
    assert config.load(source, ["model=b"]).model == ModelConfig(name="b", dtype="float32")


def test_settings_of_the_task_need_no_further_nesting(tmp_path: Path) -> None:
    source = write(tmp_path / "a.yaml", "task: {name: t, data_dir: here, limit: 1}\n")
    got = config.load(source, ["task.limit=2", "task.settings.note=x"])
    assert got.task.name == "t"
    assert got.task.settings == {"data_dir": "here", "limit": 2, "note": "x"}


def test_names_of_columns_reach_the_task() -> None:
    got = config.load(
        None, ["task=spatial", "data.columns.image=img", "task.columns.answer=gold", "task.limit=2"]
    )
    assert got.task.name == "spatial"
    assert got.task.settings == {"columns": {"image": "img", "answer": "gold"}, "limit": 2}


def test_data_is_no_section_by_a_scalar() -> None:
    with pytest.raises(UserError, match="data: expected DataConfig"):
        config.load(None, ["data=here"])


def test_a_tilde_is_home_in_every_setting_that_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.yaml").write_text("extends: ~/y.yaml\ntrain: {output_dir: ~/run}\n")
    (tmp_path / "y.yaml").write_text("model: ~/weights\n")
    overrides = ["task=~/mine.py", "rollout.vllm.python=~/v/bin/python"]
    made = config.load("~/x.yaml", [*overrides, "algorithm.rewards=[~/r.py:f=0.5, python:g]"])
    assert made.train.output_dir == f"{tmp_path}/run"
    assert made.model.name == f"{tmp_path}/weights"
    assert made.task.name == f"{tmp_path}/mine.py"
    assert made.rollout.vllm.python == f"{tmp_path}/v/bin/python"
    assert made.algorithm.rewards == (f"{tmp_path}/r.py:f=0.5", "python:g")
    assert config.load(None, ["model=Qwen/a~b"]).model.name == "Qwen/a~b"
