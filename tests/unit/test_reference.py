"""docs/reference/ says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

import reference


@pytest.mark.parametrize("page", reference.pages(), ids=lambda page: page.name)
def test_page_is_current(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == reference.pages()[page], "run: python tools/reference.py"


def test_markup_becomes_markdown() -> None:
    text = "Set C(a.b) or O(name=x), see L(the site,https://hub.example.com/) and RV(reasons);\n  B(never) I(maybe)."

    assert reference.markdown(text) == (
        "Set `a.b` or `name=x`, see [the site](https://hub.example.com/) and `reasons`; **never** *maybe*."
    )


def test_markup_keeps_brackets_inside_code() -> None:
    assert reference.markdown("Call C(f(x)) on E(HOME)") == "Call `f(x)` on `HOME`"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "`''`"),
        ([], "`[]`"),
        (True, "`true`"),
        (8000, "`8000`"),
        (None, "none"),
        ("a", "`a`"),
        ("{{ b | default('a') }}", "the value of `b`"),
    ],
)
def test_defaults_are_shown_as_yaml(value: object, expected: str) -> None:
    assert reference.shown(value) == expected


def test_settings_page_shows_nested_options_and_marks_secrets() -> None:
    login = {"password": {"type": "str", "required": True, "no_log": True, "description": "A token."}}
    option = {"type": "list", "elements": "dict", "default": [], "description": ["One.", "Two."], "options": login}

    page = reference.settings_page({"x": {"main": {"short_description": "Do", "options": {"x_logins": option}}}})

    assert "### `x_logins`\n\nlist of dict; default `[]`\n\nOne.\n\nTwo.\n" in page
    assert "- `password` (str; required; secret: never shown): A token." in page


def test_check_tells_a_stale_page_from_a_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    monkeypatch.setattr(reference, "pages", lambda: {tmp_path / "docs/page.md": "text\n"})

    assert reference.main(["--check"]) == 1
    assert "docs/page.md is out of date; run: python tools/reference.py" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
