"""Lines that a module writes and the action plugin shows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.plugins.loader import action_loader

import reference

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plugins():
    """Return the modules of our action plugins, loaded as Ansible loads them."""
    action_loader.add_directory(str(ROOT / "action_plugins"))
    return {
        name: sys.modules[action_loader.get(name, class_only=True).__module__]
        for name in ("progress", "jupyterhub_image")
    }


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_updates_are_thinned_out_and_events_are_not(tmp_path):
    clock = Clock()
    reporter = Reporter(str(tmp_path / "progress"), clock)
    for clock.now in (0, 0.5, 1, 2.1, 2.2):
        reporter.update(f"at {clock.now}")
    reporter.say("done\nfor good")
    assert (tmp_path / "progress").read_text() == "at 0\nat 2.1\ndone for good\n"


def test_without_a_file_nothing_is_written():
    Reporter(None).say("to nobody")


def test_feed_joins_what_arrives_in_pieces(plugins):
    feed = plugins["progress"].Feed(0)
    assert feed.take(b"pull x: 1", 1) == []
    assert feed.take("/2 MB\ndöne\n".encode(), 2) == ["pull x: 1/2 MB", "döne"]
    assert feed.offset == len("pull x: 1/2 MB\ndöne\n".encode())


def test_silence_repeats_the_last_line_with_its_age(plugins):
    feed = plugins["progress"].Feed(0)
    assert feed.take(b"", 100) == []
    assert feed.take(b"hub image: step 7/12\n", 101) == ["hub image: step 7/12"]
    assert feed.take(b"", 110) == []
    assert feed.take(b"", 117) == ["hub image: step 7/12 (16 s)"]
    assert feed.take(b"", 118) == []
    assert feed.take(b"", 133) == ["hub image: step 7/12 (32 s)"]


def test_context_digest_counts_names_contents_and_modes_only(plugins, tmp_path):
    image = plugins["jupyterhub_image"]
    (tmp_path / "Dockerfile").write_text("FROM x")
    (tmp_path / "package").mkdir()
    script = tmp_path / "package" / "a.py"
    script.write_text("1")

    def digest():
        return image.context_digest(image.context_files(str(tmp_path)))

    first = digest()
    (tmp_path / "package" / "__pycache__").mkdir()
    (tmp_path / "package" / "__pycache__" / "a.pyc").write_bytes(b"x")
    (tmp_path / "Dockerfile~").write_text("old")
    script.touch()
    assert digest() == first
    script.chmod(0o755)
    executable = digest()
    assert executable != first
    script.rename(tmp_path / "package" / "b.py")
    renamed = digest()
    assert renamed != executable
    (tmp_path / "package" / "b.py").write_text("2")
    assert digest() != renamed


def test_archive_is_the_same_for_the_same_files(plugins, tmp_path):
    image = plugins["jupyterhub_image"]
    (tmp_path / "Dockerfile").write_text("FROM x")
    first = image.archive({"hub": image.context_files(str(tmp_path))})
    (tmp_path / "Dockerfile").touch()
    assert image.archive({"hub": image.context_files(str(tmp_path))}) == first


def test_a_folder_without_dockerfile_is_refused(plugins, tmp_path):
    with pytest.raises(Exception, match="no Dockerfile"):
        plugins["jupyterhub_image"].context_files(str(tmp_path))


def test_modules_with_progress_return_no_key_of_the_status_of_a_job(plugins):
    """Ansible takes a result with such a key for the status: ``started`` would mean that the job is not finished."""
    files = (ROOT / "action_plugins").glob("jupyterhub_*.py")
    modules = [path.stem for path in files if '"progress"' in path.read_text()]
    assert "jupyterhub_rehearsal" in modules
    documented = reference.read_modules(ROOT)
    for module in modules:
        returned = yaml.safe_load(documented[module].get("RETURN", "")) or {}
        assert not {*plugins["progress"].JOB_KEYS} & returned.keys(), module
