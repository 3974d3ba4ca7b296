"""Check the result of an image test."""

from __future__ import annotations

import pytest
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import smoke_test

FOLDER = "/home/jovyan/work"
GOOD = (
    "program=/opt/bin/jupyterhub-singleuser\npython=/opt/python\nversion=5.5.0\nuid=1000\ngid=100\n"
    "exists=yes\nwritable=yes\njupyter_server=2.21.1\njupyterlab=4.10.0\n"
)


def warnings(output, hub="5.5.4", server_fault=""):
    result = {**smoke_test.parse_output(output), "server_fault": server_fault}
    return smoke_test.check_result("example.com/n:1", result, hub, FOLDER)


def test_a_good_image():
    assert smoke_test.parse_output(GOOD) == {
        "program": "/opt/bin/jupyterhub-singleuser", "python": "/opt/python", "version": "5.5.0",
        "uid": 1000, "gid": 100, "exists": True, "writable": True,
        "versions": {"jupyter_server": "2.21.1", "jupyterlab": "4.10.0"},
    }  # fmt: skip
    assert warnings(GOOD) == []


def test_without_a_single_user_server_it_is_refused():
    with pytest.raises(DeployError, match=r"example\.com/n:1 has no jupyterhub-singleuser.*jupyterhub==5\.5\.4"):
        warnings("program=\nversion=\nuid=0\ngid=0\n")


def test_an_image_that_starts_no_server_is_refused():
    fault = "'python3' ended with exit code 0"
    with pytest.raises(DeployError, match=r"starts no notebook server: 'python3' ended .* jupyterhub_notebook_command"):
        warnings(GOOD, server_fault=fault)


def test_a_port_that_is_open():
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0\n"
        "   1: 0100007F:1F91 0100007F:A0B1 01 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0\n"
    )
    assert smoke_test.is_listening(table, 8888)
    assert not smoke_test.is_listening(table, 8081)  # a connection


def test_another_major_version_is_a_warning_with_both_versions():
    (text,) = warnings(GOOD, hub="6.1.1")
    assert "has JupyterHub 5.5.0, the hub has 6.1.1" in text
    assert warnings(GOOD.replace("5.5.0", "5.2.1")) == []


def test_an_unknown_version_is_a_warning():
    (text,) = warnings(GOOD.replace("5.5.0", ""))
    assert "could not be read" in text


def test_a_folder_that_users_cannot_write_to_is_a_warning():
    (text,) = warnings(GOOD.replace("writable=yes\n", ""))
    assert f"1000:100 may not write to {FOLDER}" in text
    (text,) = warnings(GOOD.replace("exists=yes\nwritable=yes\n", ""))
    assert f"has no folder {FOLDER}" in text


@pytest.mark.parametrize("version", ["4.6.3", "4.6", "3.6.8"])
def test_versions_with_known_faults_are_a_warning(version):
    (text,) = warnings(GOOD.replace("4.10.0", version))
    assert f"has jupyterlab {version}, which has known security faults; use an image with 4.6.4 or newer" in text


def test_an_image_without_jupyterlab_is_not_compared():
    assert warnings(GOOD.replace("4.10.0", "")) == []


def test_root_is_a_warning():
    assert any("runs as root" in text for text in warnings(GOOD.replace("uid=1000", "uid=0")))


def test_results_are_stored_and_a_broken_file_counts_as_empty(tmp_path):
    path = str(tmp_path / "state" / "tests.json")
    assert smoke_test.load(path) == {}
    stored = {"sha256:1 /home": {"uid": 1, "versions": {}}}
    smoke_test.save(path, {**stored, "sha256:2 /home": {"uid": 1}})
    assert smoke_test.load(path) == stored  # the other is a result of an earlier version of this project
    (tmp_path / "state" / "tests.json").write_text("{half")
    assert smoke_test.load(path) == {}
