"""What counts as a manifest."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import datetime, timezone

import pytest
from ansible.module_utils.jupyterhub_deploy.backup.manifest import Manifest, is_required
from ansible.module_utils.jupyterhub_deploy.errors import DeployError

from support import backup_data

NIGHT = datetime(2026, 11, 23, 1, 44, 40, tzinfo=timezone.utc)
STEM = "20261123T014440Z"


def test_a_manifest_reads_as_it_was_written() -> None:
    manifest = backup_data.manifest(NIGHT, changed=["./a\\nb"], labels={"a": "b"}, scan="12")

    assert Manifest.from_json(manifest.to_json(), f"/b/{STEM}.json") == manifest


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": 2}, "format is 2; this version of the deployment reads format 1"),
        ({"size": -1}, "size is -1 instead of a number from 0"),
        ({"size": True}, "size is True instead of a number from 0"),
        ({"sha256": "0"}, "sha256 is '0' instead of 64 hexadecimal digits"),
        ({"compression": "lzma"}, "compression is 'lzma' instead of one of zstd, gzip, none"),
        ({"compression": ["none"]}, "compression is ['none'] instead of one of"),
        ({"archive": "../../etc/shadow"}, f"archive is '../../etc/shadow' instead of {STEM}.tar"),
        ({"volume": "../escape"}, "volume is '../escape', which is not a volume's name"),
        ({"volume": "hub"}, "volume is 'hub', which is not a volume's name"),
        ({"volume": None}, "volume is None, which is not a volume's name"),
        ({"labels": {"a": 1}}, "labels is {'a': 1} instead of texts by name"),
        ({"changed": "a"}, "changed is 'a' instead of a list of texts"),
    ],
)
def test_an_invalid_manifest_is_refused_with_the_reason(change: dict[str, object], expected: str) -> None:
    text = json.dumps({**json.loads(backup_data.manifest(NIGHT).to_json()), **change})
    with pytest.raises(DeployError) as error:
        Manifest.from_json(text, f"/b/{STEM}.json")

    assert str(error.value).startswith(f"manifest /b/{STEM}.json is not valid: {expected}")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff"])
def test_a_torn_manifest_is_refused(text: str) -> None:
    with pytest.raises(DeployError, match=rf"manifest /b/{STEM}.json is not JSON"):
        Manifest.from_json(text, f"/b/{STEM}.json")


def test_a_manifest_that_lacks_a_field_is_refused() -> None:
    for name in (one.name for one in fields(Manifest) if is_required(one)):
        found = json.loads(backup_data.manifest(NIGHT).to_json())
        del found[name]
        with pytest.raises(DeployError, match=f"{name} is missing"):
            Manifest.from_json(json.dumps(found), f"/b/{STEM}.json")
