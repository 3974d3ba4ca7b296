from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.front.site import read_sites, write_site

from support.factories.sites import site


def test_sites_are_written_and_read(tmp_path: Path) -> None:
    assert read_sites(str(tmp_path)) == {}
    for one in (site(), site("lab")):
        write_site(str(tmp_path), one.hub, one)

    assert read_sites(str(tmp_path)) == {"jupyterhub": site(), "lab": site("lab")}

    write_site(str(tmp_path), "lab", None)
    write_site(str(tmp_path), "lab", None)
    assert read_sites(str(tmp_path)) == {"jupyterhub": site()}


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    write_site(str(tmp_path), "lab", site("lab"))
    path = tmp_path / "sites/lab.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "port": 8000}))
    assert read_sites(str(tmp_path)) == {"lab": site("lab")}


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    write_site(str(tmp_path), "lab", site("lab"))
    path = tmp_path / "sites/lab.json"
    path.write_text(text)
    with pytest.raises(DeployError, match=f"{path} is damaged .*; remove it and run make site for that hub"):
        read_sites(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "https://jupyterhub.example.com/"),
        ({"https_port": 8443}, "https://jupyterhub.example.com:8443/"),
        ({"https": "behind", "https_port": 8443}, "https://jupyterhub.example.com/"),
    ],
)
def test_the_url_in_the_browser(values: dict[str, Any], expected: str) -> None:
    assert site(**values).url == expected
