"""The client of a vLLM server, and what it makes of answers, against a small HTTP server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import vllm_server as fake
from fakes.attached import attached, config
from safetensors.torch import load_file

from vrft import policy
from vrft.config.schema import LoraConfig, ModelConfig
from vrft.engines.client import GENERATE, Client, ServerFailure
from vrft.engines.vllm import VllmEngine
from vrft.errors import UserError
from vrft.policy.policy import ModelPolicy


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:80000", "http://127.0.0.1:port", "http://[::1", "http://127.0.0.1:8000/vllm",
     "http://127.0.0.1:8000?a=1", "http://me@127.0.0.1:8000", "https://127.0.0.1:8000", ""],
)  # fmt: skip
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="give the address of a server on this machine"):
        Client(url)


def test_the_address_of_a_server_is_taken_apart() -> None:
    client = Client("HTTP://[::1]:8000/")
    assert (client.host, client.port) == ("::1", 8000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error": {"message": "n must\\n be less"}}', "n must be less"),
        ('{"error": "out of memory"}', "out of memory"),
        ('{"message": "n is odd"}', "n is odd"),
        ("[" * 100_000, r"\[{300}"),
        (" ", "no reason given"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(
    text: str, words: str, server: tuple[str, fake.Answers]
) -> None:
    url, answers = server
    answers.status["/version"], answers.text["/version"] = 400, text
    with pytest.raises(UserError, match=rf"refuses /version: {words}$"):
        Client(url).version()
    answers.status["/version"] = 500
    with pytest.raises(ServerFailure, match=rf"status 500 to /version: {words}$"):
        Client(url).version()


def test_statuses_and_texts_that_are_no_answer_are_failures(
    server: tuple[str, fake.Answers],
) -> None:
    url, answers = server
    answers.status["/version"] = 500
    with pytest.raises(ServerFailure, match="status 500"):
        Client(url).version()
    answers.status["/version"] = 200
    for text in ("<html>", "[" * 100_000):
        answers.text["/version"] = text
        with pytest.raises(ServerFailure, match="no JSON"):
            Client(url).version()
    answers.text["/version"] = "[]"
    with pytest.raises(ServerFailure, match="no 'version'"):
        Client(url).version()
    with pytest.raises(ServerFailure, match="no answer to /version"):
        Client("http://127.0.0.1:9").version()


@pytest.mark.parametrize("url", ["localhost:8000", "https://x/", "ftp://a", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="give the address"):
        Client(url)


def test_tokens_are_counted_or_the_server_is_refused(server: tuple[str, fake.Answers]) -> None:
    url, answers = server
    answers.text["/metrics"] = (
        "# TYPE vllm:generation_tokens_total counter\n"
        'vllm:generation_tokens_total{engine="0"} 7.0\n'
        'vllm:generation_tokens_total{engine="1"} 1.5e3\n'
        'vllm:prompt_tokens_total{engine="0"} 100.0\n'
        'vllm:generation_tokens_created{engine="0"} 1.79e9\n'
    )
    assert Client(url).tokens_made() == 1607
    answers.text["/metrics"] = "vllm:prompt_tokens_total many\n"
    with pytest.raises(ServerFailure, match="/metrics cannot be read"):
        Client(url).tokens_made()
    answers.text["/metrics"] = "# TYPE python_info gauge\n"
    with pytest.raises(UserError, match=r"does not count .*; start it without --disable"):
        Client(url).tokens_made()
    answers.status["/metrics"] = 503
    with pytest.raises(ServerFailure, match="status 503 to /metrics"):
        Client(url).tokens_made()


# --- attaching, hanging, failing


def test_a_server_that_does_not_count_its_tokens_is_refused_before_it_is_waited_for(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    answers.text["/metrics"] = "# TYPE python_info gauge\n"
    with pytest.raises(UserError, match="does not count its tokens at /metrics"):
        attached(model, url, tmp_path)
    assert GENERATE not in [path for path, _ in answers.asked]


def test_a_server_of_another_version_or_with_too_short_prompts_is_refused(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    answers.version = "0.31.2"
    with pytest.raises(UserError, match=r"has vLLM 0\.31\.2; install vLLM 0\.32"):
        attached(model, url, tmp_path)
    answers.version, answers.limit = "0.32.1", 256
    with pytest.raises(UserError, match=r"serves 256 tokens.*--max-model-len 406"):
        attached(model, url, tmp_path)


def test_a_server_that_takes_no_weights_is_refused_with_the_way_to_start_one(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    answers.status["/pause"] = 404
    with pytest.raises(UserError, match=r"takes no new weights .*launcher.py serve"):
        attached(model, url, tmp_path)


def test_the_weights_that_are_handed_over_are_the_models(
    model: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    engine = attached(model, server[0], tmp_path)
    paths = [body["args"][0] for path, body in server[1].asked if path == "/collective_rpc"]
    assert paths == [str(engine.files.weights)]
    written = load_file(engine.files.weights)
    own = model.module.state_dict()
    assert torch.equal(written["model.embed_tokens.weight"],
                       own["model.model.language_model.embed_tokens.weight"])  # fmt: skip
    assert "lm_head.weight" not in written  # tied
    engine.close()


# --- adapters

LOAD, UNLOAD = "/v1/load_lora_adapter", "/v1/unload_lora_adapter"


@pytest.fixture
def adapted(model: ModelPolicy) -> ModelPolicy:
    name = str(model.loaded.core.config.name_or_path)
    lora = ModelConfig(name, "float32", lora=LoraConfig(r=4))
    return policy.load(lora, train=True, device="cpu")


def test_an_adapter_has_a_new_name_after_each_exchange(
    adapted: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    given = config(url, lora="adapter")
    name = str(adapted.loaded.core.config.name_or_path)
    made = replace(given, model=ModelConfig(name, "float32", lora=LoraConfig(r=4)))
    answers.text[LOAD] = answers.text[UNLOAD] = "Success: it is no JSON."
    engine = VllmEngine(made, adapted, tmp_path)
    first, folder = engine.model, engine.files.adapter
    assert [body["model"] for path, body in answers.asked if path == GENERATE] == [first]
    engine.sync()
    exchanges = [(path, body) for path, body in answers.asked if path != "/metrics"]
    assert exchanges[2:] == [
        ("/pause?mode=wait", None),  # the base, whatever the server has had before
        ("/collective_rpc", {"method": "vrft_reload", "args": [str(engine.files.weights)],
                             "timeout": given.rollout.vllm.start_timeout}),
        ("/resume", None),
        ("/pause?mode=wait", None),
        (LOAD, {"lora_name": first, "lora_path": str(folder)}),
        ("/resume", None),
        next(pair for pair in exchanges if pair[0] == GENERATE),
        ("/pause?mode=wait", None),
        (LOAD, {"lora_name": engine.model, "lora_path": str(engine.files.adapter)}),
        (UNLOAD, {"lora_name": first}),
        ("/resume", None),
    ]  # fmt: skip
    assert engine.model != first and engine.files.adapter != folder
    engine.close()


def test_a_server_without_adapters_is_refused_with_its_arguments_and_serves_on(
    adapted: ModelPolicy, server: tuple[str, fake.Answers], tmp_path: Path
) -> None:
    url, answers = server
    given = config(url, lora="adapter")
    name = str(adapted.loaded.core.config.name_or_path)
    made = replace(given, model=ModelConfig(name, "float32", lora=LoraConfig(r=4)))
    answers.status[LOAD] = 404
    with pytest.raises(UserError, match=r"takes no new weights .*--enable-lora --max-lora-rank 8`"):
        VllmEngine(made, adapted, tmp_path)
    assert [path for path, _ in answers.asked][-1] == "/resume"


@pytest.mark.parametrize(("dtype", "sent"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
def test_an_attached_server_is_sent_weights_in_the_trainers_precision(
    dtype: str,
    sent: torch.dtype,
    model: ModelPolicy,
    server: tuple[str, fake.Answers],
    tmp_path: Path,
) -> None:
    engine = attached(model, server[0], tmp_path, dtype)
    weights = load_file(engine.files.weights)
    assert engine.dtype == sent and {weight.dtype for weight in weights.values()} == {sent}
    engine.close()
