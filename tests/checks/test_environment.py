"""Versions and devices for a bug report, of a healthy installation and of broken ones."""

from __future__ import annotations

import sys

import pytest

from vrft.checks import environment


def test_a_package_that_is_not_there_is_said_to_be_missing() -> None:
    assert environment.installed("no-such-package") == "not installed"
    assert environment.installed("torch")[0].isdigit()


def test_a_missing_torchvision_is_none_to_worry_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "installed", lambda name: "not installed")
    assert environment.torchvision() == "not installed (not needed)"


def test_a_broken_torchvision_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(environment, "installed", lambda name: "0.28.0")
    monkeypatch.setattr("importlib.import_module", broken)
    assert environment.torchvision() == (
        "0.28.0 BROKEN beside this torch (operator torchvision::nms does not exist); "
        "run `pip uninstall torchvision`"
    )


def test_the_report_is_made_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    report = environment.versions_and_devices()
    assert report["devices"] == "torch is not installed"
    assert next(iter(report)) == "python"
    assert {"vrft", "torch", "transformers", "torchvision"} <= report.keys()
