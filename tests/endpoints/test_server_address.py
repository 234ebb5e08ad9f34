"""An address and a key are read right or refused, and nothing secret of them is said."""

from __future__ import annotations

import pytest

from vrft.endpoints.server_address import read_address, read_key
from vrft.errors import UserError

KEY = "sk-very-secret-0123456789"


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    address = read_address("https://me:pass%20word@host:8000/v1/?api-version=2&key=s3cret")
    assert address.shown == "https://host:8000/v1"
    assert address.path("/models") == (
        "https://me:pass%20word@host:8000/v1/models?api-version=2&key=s3cret"
    )
    assert {"pass%20word", "pass word", "s3cret"} <= {*address.secrets}


@pytest.mark.parametrize(
    "url", ["", "host/v1", "ftp://host/v1", "http://", "http://host:port/v1", "http://a\n/v1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="give the address of a server up to /v1"):
        read_address(url)


def test_an_address_of_one_call_is_refused() -> None:
    with pytest.raises(UserError, match="up to /v1; what is asked there"):
        read_address("http://host/v1/chat/completions")


def test_a_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert read_key("MY_KEY", default="OPENAI_API_KEY") == KEY
    assert read_key("OPENAI_API_KEY", default="OPENAI_API_KEY") == ""
    with pytest.raises(UserError, match="the environment variable NONE is not set"):
        read_key("NONE", default="OPENAI_API_KEY")
    monkeypatch.setenv("MY_KEY", "with blank")
    with pytest.raises(UserError, match="that no header can hold") as caught:
        read_key("MY_KEY", default="OPENAI_API_KEY")
    assert "with blank" not in str(caught.value)
