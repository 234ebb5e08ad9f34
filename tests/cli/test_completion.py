from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vrft import cli, paths
from vrft.cli import arguments, completion
from vrft.cli.completion import candidates


def becomes(line: str) -> list[str]:
    """Return what the last word of a line, behind ``vrft``, may become."""
    return candidates(["vrft", *line.split(" ")])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tra", ["train"]),
        ("config sh", ["show"]),
        ("nothing", []),
        ("config show demo/lisa", ["demo/lisa_grounding"]),
        ("config copy demo/lisa", ["demo/lisa_grounding"]),
        ("train --ta", ["--task"]),
        ("train --task spa", ["spatial"]),
        ("train --task=spa", ["--task=spatial"]),
        ("train --config demo/lisa", ["demo/lisa_grounding"]),
        ("eval --benchmark demo_grounding", ["demo_grounding", "demo_grounding_unseen"]),
        ("eval --boxes fr", ["fractions"]),
        ("eval --model demo-c", ["demo-counting"]),
        ("train train.max_st", ["train.max_steps="]),
        ("train --dry-run train.max_st", ["train.max_steps="]),  # behind an option without value
        ("train algorithm=dr", ["algorithm=dr_grpo"]),
        ("train algorithm.name=dr", ["algorithm.name=dr_grpo"]),
        ("train task=spa", ["task=spatial"]),
        ("train model=demo-c", ["model=demo-counting"]),
        ("train model.freeze_vision_tower=f", ["model.freeze_vision_tower=false"]),
        ("train model.lora.r=", []),  # a number has no names
        ("train rollout.engine=", ["rollout.engine=vllm", "rollout.engine=vrft"]),
        ("train train.no_such=", []),
        # settings of the task that the line names, or of those for own rows
        ("train data.bo", ["data.box_format=", "data.boxes="]),
        ("train task.box", ["task.box_format=", "task.box_unit="]),
        ("train data.boxes=th", ["data.boxes=thousandths"]),
        ("train task.acc", ["task.accept_any="]),  # of vqa alone
        ("train --task grounding task.acc", []),
        ("train --task=grounding task.kind=p", ["task.kind=point", "task.kind=points"]),
        ("train task=vqa task.ra", []),
        ("config show vqa task.kind=y", ["task.kind=yes_no"]),
        ("train --config demo/lisa_grounding task.rew", ["task.reward="]),
        ("train --task mine.py task.", ["task.name="]),
        ("train --task nothing task.", ["task.name="]),
        ("train data.on", ["data.on_bad_picture="]),
        ("tasks grou", ["grounding"]),
        ("train a.b.c=", []),
        # files, which the shell completes
        ("view ", []),
        ("train --data ", []),
        ("eval --predictions=", []),
        ("completion ", ["bash", "fish", "zsh"]),
    ],
)  # fmt: skip
def test_a_word_becomes_what_the_command_takes_there(line: str, words: list[str]) -> None:
    assert becomes(line) == words


def test_every_command_setting_and_benchmark_is_offered() -> None:
    from vrft.config import loading
    from vrft.config.schema import Config

    assert becomes("") == sorted(arguments.parser().commands)
    assert {f"{name}=" for name in loading.flat(Config())} <= set(becomes("train "))
    assert becomes("eval --benchmark ") == paths.names("benchmarks")
    assert "--merge" in becomes("export runs/mine -") and "--limit" in becomes("check -")
    assert candidates(["vrft"]) == candidates([]) == []  # not behind the command's name yet


@pytest.mark.parametrize(
    ("shell", "line", "printed"),
    [
        # bash completes what stands behind the last = or :
        ("bash", "vrft train algorithm.name=dr", "dr_grpo\n"),
        ("bash", "vrft train --task=spa", "spatial\n"),
        ("bash", "vrft train train.max_st", "train.max_steps=\n"),
        ("bash", "vrft config ", "copy\nlist\nschema\nshow\n"),
        ("bash", "", "\n"),
        ("zsh", "vrft\ntrain\nalgorithm.name=dr\n", "algorithm.name=dr_grpo\n"),
        ("fish", "vrft\nconfig\n\n", "copy\nlist\nschema\nshow\n"),
    ],
)
def test_each_shell_sends_the_line_in_its_own_way(
    shell: str,
    line: str,
    printed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    assert cli.main(["completion", shell, "--words"]) == 0
    assert capsys.readouterr().out == printed


ASKED = {
    # As bash calls the function that `complete` has named, and prints what it offers.
    "bash": """
eval "$(vrft completion bash)"
[[ $(complete -p vrft) == *"-F _vrft vrft" ]] || exit 1
for line in 'vrft tra' 'vrft train algorithm.name=dr' 'vrft eval --benchmark demo_cou'; do
    COMP_LINE=$line COMP_POINT=${#line} COMPREPLY=()
    _vrft vrft
    compgen -W "${COMPREPLY[*]}"
done
""",
    "zsh": """
compdef() { }
eval "$(vrft completion zsh)"
compadd() { local -a given=("${(@P)@[-1]}"); (( $#given )) && print -rl -- $given }
for line in 'vrft tra' 'vrft train algorithm.name=dr' 'vrft eval --benchmark demo_cou'; do
    words=(${=line}) CURRENT=${#words}
    _vrft
done | sed 's/.*=//'
""",
    "fish": """
vrft completion fish | source
for line in 'vrft tra' 'vrft train algorithm.name=dr' 'vrft eval --benchmark demo_cou'
    complete -C $line
end | sed 's/.*=//'
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", ASKED)
def test_a_real_shell_offers_commands_values_and_names(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        assert shell != "bash"
        pytest.skip(f"{shell} is not installed here")
    (tmp_path / "vrft").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vrft "$@"\n')
    (tmp_path / "vrft").chmod(0o755)
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *options, "-c", ASKED[shell]],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["train", "dr_grpo", "demo_counting"], done.stderr


def test_completing_imports_no_torch() -> None:
    code = (
        "import sys\nfrom vrft.cli.completion import candidates\n"
        "for last in ('tra', 'algorithm=', 'task=', 'train.', 'train.optim='):\n"
        "    candidates(['vrft', 'train', last])\n"
        "assert candidates(['vrft', 'train', 'task='])\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_shell_has_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, script in completion.SCRIPTS.items():
        assert cli.main(["completion", shell]) == 0
        assert capsys.readouterr().out == script and f"completion {shell} --words" in script
