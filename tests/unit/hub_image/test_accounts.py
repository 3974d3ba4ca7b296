"""Answers and errors of the accounts program (tests/integration/users/ runs it in real hubs)."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from jupyterhub_deploy_hub import HubError, accounts


def answer(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> int:
    def act(request: dict[str, Any]) -> dict[str, Any]:
        if error:
            raise error
        return {"exists": request["name"] == "bob"}

    monkeypatch.setitem(accounts.ACTIONS, "exists", act)
    monkeypatch.setattr("sys.stdin", io.StringIO('{"action": "exists", "name": "bob"}\n'))
    return accounts.main()


def test_an_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(monkeypatch, None) == 0
    assert capsys.readouterr().out == '{"exists": true}\n'


def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(monkeypatch, HubError("run make site")) == 1
    assert json.loads(capsys.readouterr().out) == {"error": "run make site"}


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError, match="names"):
        answer(monkeypatch, KeyError("names"))
    assert capsys.readouterr().out == ""
