"""The images of one hub on this host: inspect them, plan the steps, and run them.

``images.plan`` makes the plan, without I/O. ``images.pull``, ``images.build``, ``images.bootstrap`` and
``images.smoke_test`` run one kind of step each.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.docker.client import docker_errors, inspect_image
from ansible.module_utils.jupyterhub_deploy.docker.labels import LABEL_PURPOSE
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import (
    bootstrap,
    choice,
    owners,
    parallel,
    pull,
    record,
    registry,
    smoke_test,
    updates,
)
from ansible.module_utils.jupyterhub_deploy.images import build as image_build
from ansible.module_utils.jupyterhub_deploy.images.plan import (
    BOOTSTRAP,
    BUILD,
    LABEL,
    PULL,
    SAVE_CHOICE,
    SERVER_PURPOSES,
    SMOKE_TEST,
    Image,
    ImageOptions,
    Present,
    Step,
    outcome,
    plan,
    resolve,
)
from ansible.module_utils.jupyterhub_deploy.images.reference import login_for, parse
from ansible.module_utils.jupyterhub_deploy.progress import Reporter
from ansible.module_utils.jupyterhub_deploy.text import parse_time

# A container in which an image is tested or read ends within two minutes (smoke_test.TIMEOUT).
LEFTOVER_SECONDS = 15 * 60


class HubImages:
    """The images of one hub on this host."""

    def __init__(self, connect: Callable[[], Any], options: ImageOptions, check_mode: bool = False) -> None:
        self.connect = connect
        self.client = connect()
        self.lock = threading.Lock()  # for the files that steps update
        self.check_mode = check_mode
        self.options = options
        self.choice = choice.choose(self.client, options)
        self.images: list[Image] = resolve(options.images, self.choice.source)
        self.images += [Image("extra", name, PULL, "", {}) for name in options.notebooks]
        for image in self.images:
            parse(image.name)
        self.before = {image.name: found for image in self.images if (found := self.inspect(image.name))}
        self.test_results = smoke_test.load(options.smoke_tests_file)
        self.base = next((image for image in self.images if image.purpose == "base"), None)
        suite = self.base.args.get("suite", "") if self.base else ""
        self.updates = updates.Updates(options.updates_file, suite, options.refresh_updates)
        self.outdated = self.find_outdated()

    def find_outdated(self) -> str:
        """Return why the images that are built on this host have to be built again, empty when they do not.

        Only with a base image that is built here: another one would be the same.
        """
        if not self.client or not self.base or self.base.how != BOOTSTRAP:
            return ""
        found = [self.before[image.name] for image in self.images if image.how == BUILD and image.name in self.before]
        state = self.updates.inspect(self.client, [image.id for image in found])
        created = {image.id: built.timestamp() for image in found if (built := parse_time(image.created))}
        return updates.reason(state, created, self.options.max_age_days)

    def inspect(self, name: str, client: Any = None) -> Present | None:
        """Return the image with a name, ``None`` when the host does not have it.

        :param client: the client of the calling thread, when it is not the main thread.
        """
        client = client or self.client
        found = inspect_image(client, name) if client else None
        if not found:
            return None
        labels = (found.get("Config") or {}).get("Labels") or {}
        return Present(found["Id"], labels.get(LABEL, ""), found.get("RepoDigests") or [], found["Created"])

    def upstream_digests(self) -> dict[str, str]:
        """Return, for the policy ``always``, the current digests in the registries of the images that the host has.

        :raises DeployError: a registry does not provide an image.
        """
        digests: dict[str, str] = {}
        if self.options.pull_policy != "always" or not self.client:
            return digests
        for image in self.images:
            reference = parse(image.name)
            if image.how != PULL or image.purpose == "base" or reference.digest or image.name not in self.before:
                continue
            login = login_for(reference, self.options.registry_logins)
            kind, text = registry.query(self.client, image.name, login)
            if kind != registry.REACHABLE:
                raise DeployError(registry.explain_newer(kind, image.name, reference, login, text))
            digests[image.name] = text
        return digests

    def make_steps(self) -> list[Step]:
        """Return the steps to run."""
        options = self.options
        upstream = self.upstream_digests()
        steps = plan(
            self.images, self.before, self.test_results, options.notebook_dir, options.pull_policy, upstream,
            options.notebook_command, self.outdated if options.update else "",
        )  # fmt: skip
        if self.choice.new:
            steps.append(Step(SAVE_CHOICE, "choice", options.choice_file, self.choice.reason))
        return steps

    def run_steps(self, steps: list[Step]) -> None:
        """Run all steps, in parallel where they do not depend on each other.

        :raises DeployError: the error of the first step that failed.
        """
        if self.choice.new:
            Reporter(self.options.progress_file).say(choice.message(self.choice))
        try:
            parallel.run(steps, self.run_step)
        except DeployError as error:
            if not any(step.action == BUILD and step.reason == self.outdated for step in steps):
                raise
            raise DeployError(
                f"{error}. The images are built again because {self.outdated}; to use those that are there, add "
                "-e jupyterhub_update_images=false"
            ) from error
        names = {step.name for step in steps if step.action == BUILD}
        if names and self.base and self.base.how == BOOTSTRAP:
            built = any(step.action == BOOTSTRAP for step in steps)  # otherwise, they have the packages of the old base
            self.updates.inspect(self.client, [found.id for name in names if (found := self.inspect(name))], built)

    def put_names_back(self) -> None:
        """Give the names of notebook images back to the images that had them: the hub starts servers by name.

        An image that a failed run has pulled or built was not accepted.
        """
        for image in self.images:
            before, now, reference = self.before.get(image.name), self.inspect(image.name), parse(image.name)
            if image.purpose in SERVER_PURPOSES and before and now and before.id != now.id and reference.tag:
                self.client.tag(before.id, reference.remote, reference.tag)

    def remove_leftovers(self) -> None:
        """Remove containers in which a run that was killed has tested or read an image."""
        for purpose in (smoke_test.PURPOSE, updates.PURPOSE):
            filters = {"label": f"{LABEL_PURPOSE}={purpose}"}
            for one in self.client.containers(all=True, filters=filters):
                if time.time() - one["Created"] < LEFTOVER_SECONDS:
                    continue
                with contextlib.suppress(docker_errors.NotFound):
                    self.client.remove_container(one["Id"], force=True, v=True)

    def run_step(self, step: Step, stop: threading.Event) -> None:
        """Run one step.

        :param stop: set when another step has failed.
        :raises DeployError: with the image, the cause and what to do next.
        """
        image = next((image for image in self.images if image.name == step.name), None)
        began = time.monotonic()
        # Each step has its own connection, because threads must not share one, and its own progress reports.
        client, progress = self.connect(), Reporter(self.options.progress_file)
        if step.action == SAVE_CHOICE:
            choice.save(self.options.choice_file, self.choice)
        elif step.action == PULL:
            pull.pull(client, step.name, self.options.registry_logins, progress, stop)
            self.record_image(client, image)
            progress.say(f"pull {step.name}: done in {time.monotonic() - began:.0f} s")
        elif image and step.action == SMOKE_TEST:
            self.run_smoke_test(client, image, progress)
        elif image:
            if step.action == BOOTSTRAP:
                bootstrap.bootstrap(client, image, progress, stop)
            else:
                base = next(other.name for other in self.images if other.purpose == "base")
                self.build(client, image, base, progress, stop)
            self.record_image(client, image)
            progress.say(f"{image.purpose} image: done in {time.monotonic() - began:.0f} s")

    def build(self, client: Any, image: Image, base: str, progress: Reporter, stop: threading.Event) -> None:
        """Build one image from its context in the archive."""
        if not self.options.archive:
            raise DeployError(
                f"image {image.name} has to be built, but the module has no build context; run it through the "
                "action plugin"
            )
        context = image_build.context(self.options.archive, image.purpose, self.options.ca_bundle)
        args = {**image_build.read_mirrors(), **{key: str(value) for key, value in self.options.build_args.items()}}
        image_build.build(client, image, base, context, args, progress, stop)

    def run_smoke_test(self, client: Any, image: Image, progress: Reporter) -> None:
        """Run an image once, check the result, and store it."""
        found = self.inspect(image.name, client)
        if not found:
            raise DeployError(
                f"image {image.name} disappeared from this host; stop whatever removes images there, then try again"
            )
        progress.say(f"{image.purpose} image: test {image.name}")
        options = self.options
        result = smoke_test.run(client, image.name, found.id, options.notebook_dir, options.notebook_command)
        smoke_test.check_result(image.name, result, options.hub_version, options.notebook_dir)
        with self.lock:
            self.test_results[smoke_test.key(found.id, options.notebook_dir, options.notebook_command)] = result
            smoke_test.save(self.options.smoke_tests_file, self.test_results)

    def check_owners(self, image: Image, tested: dict[str, Any]) -> list[str]:
        """Return a warning about an image whose servers cannot write to users' volumes.

        :raises DeployError: it is the notebook image, and most volumes are affected.
        """
        if not self.client or tested["uid"] is None:
            return []
        found = owners.homes(self.client, self.options.hub)
        text, most = owners.problem(image.name, tested["uid"], tested["gid"] or 0, found)
        if most and image.purpose == "notebook" and self.options.check_volume_owners:
            raise DeployError(f"{text}; the hub was not changed")
        return [text] if text else []

    def record_image(self, client: Any, image: Image | None) -> None:
        """Record that this project pulled or built an image, with the first stage of its build."""
        path, hub = self.options.record_file, self.options.hub
        found = self.inspect(image.name, client) if image else None
        if not image or not found:
            return
        stage = image_build.newest_stage(client, image.purpose) if image.how == BUILD else None
        with self.lock:
            after = record.with_image(record.load(path), hub, image.purpose, found.id, image.name)
            if stage:
                after = record.with_image(after, hub, record.STAGE + image.purpose, stage)
            record.save(path, after)

    def report(self, steps: list[Step]) -> dict[str, Any]:
        """Return the module's result, from the images that the host has now."""
        options, test_results = self.options, {}
        now = {image.name: self.inspect(image.name) for image in self.images}
        ids = {name: found.id if found else None for name, found in now.items()}
        messages = []
        if self.choice.new:
            messages.append(f"{choice.message(self.choice)}; to choose again, remove {options.choice_file}")
        if self.outdated and not options.update:
            messages.append(
                f"images are not built again although {self.outdated}, because jupyterhub_update_images is false"
            )
        for image in self.images:
            key = smoke_test.key(ids[image.name] or "", options.notebook_dir, options.notebook_command)
            tested = self.test_results.get(key)
            if image.purpose in SERVER_PURPOSES and tested:
                test_results[image.name] = tested
                messages += smoke_test.check_result(image.name, tested, options.hub_version, options.notebook_dir)
                messages += self.check_owners(image, tested)
        result = outcome(self.choice.source, self.images, ids)
        if self.check_mode:  # an image that would be pulled or built has no id yet
            due = {step.name for step in steps if step.action in (PULL, BUILD, BOOTSTRAP)}
            result["images"] = [
                {**image, "id": None if image["name"] in due else image["id"]} for image in result["images"]
            ]
        result["needs_pruning"] = record.needs_pruning(
            record.load(options.record_file), options.hub, record.by_kind(result["images"]), options.keep
        )
        return {
            "changed": any(step.action != SMOKE_TEST for step in steps),
            "steps": [step._asdict() for step in steps],
            "choice": self.choice._asdict(),
            "smoke_tests": test_results,
            "messages": messages,
            "result": result,
            "diff": self.diff(steps, ids),
        }

    def diff(self, steps: list[Step], ids: dict[str, str | None]) -> dict[str, Any]:
        """Return image ids before and after; for an id that does not exist yet, the step that would create it."""
        before = {name: self.before[name].id if name in self.before else "absent" for name in ids}
        due = {step.name: f"{step.action}: {step.reason}" for step in steps if step.action in (PULL, BUILD, BOOTSTRAP)}
        after = {name: found or "absent" for name, found in ids.items()}
        later = {name: due[name] for name in ids if name in due and after[name] == before[name]}
        return {"before": before, "after": {**after, **later}}
