"""The images of one hub on this host: inspect them, plan the steps, and run them.

``images.plan`` makes the plan, without I/O. ``images.pull``, ``images.build``, ``images.bootstrap`` and
``images.smoke_test`` run one kind of step each.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable

from ansible.module_utils.jupyterhub_deploy.docker.client import inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.images import bootstrap, parallel, prune, pull, registry, smoke_test
from ansible.module_utils.jupyterhub_deploy.images import build as image_build
from ansible.module_utils.jupyterhub_deploy.images.plan import (
    BOOTSTRAP,
    BUILD,
    LABEL,
    PULL,
    REMEMBER,
    SERVER_PURPOSES,
    SMOKE_TEST,
    Image,
    Present,
    Step,
    outcome,
    plan,
    resolve,
    undecided,
)
from ansible.module_utils.jupyterhub_deploy.images.reference import login_for, parse
from ansible.module_utils.jupyterhub_deploy.progress import Reporter


class HubImages:
    """The images of one hub on this host."""

    def __init__(self, connect: Callable[[], Any], params: dict[str, Any], check_mode: bool = False) -> None:
        self.connect = connect
        self.client = connect()
        self.lock = threading.Lock()  # for the files that steps update
        self.check_mode = check_mode
        self.params = params
        self.choice = self.choose_source()
        self.images: list[Image] = resolve(params["images"], self.choice["source"])
        self.images += [Image("extra", name, PULL, "", {}) for name in params["notebooks"]]
        for image in self.images:
            parse(image.name)
        self.before = {image.name: found for image in self.images if (found := self.inspect(image.name))}
        self.test_results = smoke_test.load(params["proofs_file"])

    def inspect(self, name: str, client: Any = None) -> Present | None:
        """Return the image with a name, ``None`` when the host does not have it.

        :param client: the client of the calling thread, when it is not the main thread.
        """
        client = client or self.client
        found = inspect_image(client, name) if client else None
        if not found:
            return None
        labels = (found.get("Config") or {}).get("Labels") or {}
        return Present(found["Id"], labels.get(LABEL, ""), found.get("RepoDigests") or [])

    def choose_source(self) -> dict[str, Any]:
        """Choose between pull and build; see the option ``source``.

        :raises DeployError: the registry is reachable, but does not provide the image.
        """
        source, name = self.params["source"], undecided(self.params["images"])
        if source != "auto":
            return {"source": source, "reason": "jupyterhub_image_source says so", "new": False}
        if not name:
            return {"source": PULL, "reason": "every image that could be built is named", "new": False}
        try:
            with open(self.params["choice_file"], encoding="utf-8") as file:
                earlier = file.read().strip()
        except OSError:
            earlier = ""
        if earlier in (PULL, BUILD):
            return {"source": earlier, "reason": f"{self.params['choice_file']} keeps an earlier choice", "new": False}
        reference = parse(name)
        if not self.client:
            return {"source": PULL, "reason": "Docker is not installed yet and cannot ask the registry", "new": False}
        if self.inspect(name):
            return {"source": PULL, "reason": f"{name} is on this host already", "new": True}
        login = login_for(reference, self.params["registry_logins"])
        kind, text = registry.query(self.client, name, reference, login)
        if kind == registry.REACHABLE:
            return {"source": PULL, "reason": f"registry {reference.registry} answers", "new": True}
        if kind == registry.UNREACHABLE:
            reason = f"registry {reference.registry} cannot be reached from this host ({text})"
            return {"source": BUILD, "reason": reason, "new": True}
        raise DeployError(registry.explain(kind, name, reference, login, text))

    def upstream_digests(self) -> dict[str, str]:
        """Return, for the policy ``always``, the current digests in the registries of the images that the host has.

        :raises DeployError: a registry does not provide an image.
        """
        digests: dict[str, str] = {}
        if self.params["pull_policy"] != "always" or not self.client:
            return digests
        for image in self.images:
            reference = parse(image.name)
            if image.how != PULL or image.purpose == "base" or reference.digest or image.name not in self.before:
                continue
            login = login_for(reference, self.params["registry_logins"])
            kind, text = registry.query(self.client, image.name, reference, login)
            if kind != registry.REACHABLE:
                raise DeployError(registry.explain_newer(kind, image.name, reference, login, text))
            digests[image.name] = text
        return digests

    def make_steps(self) -> list[Step]:
        """Return the steps to run."""
        params = self.params
        steps = plan(
            self.images,
            self.before,
            self.test_results,
            params["notebook_dir"],
            params["pull_policy"],
            self.upstream_digests(),
        )
        if self.choice["new"]:
            steps.append(Step(REMEMBER, "choice", self.params["choice_file"], self.choice["reason"]))
        return steps

    def run_steps(self, steps: list[Step]) -> None:
        """Run all steps, in parallel where they do not depend on each other.

        :raises DeployError: the error of the first step that failed.
        """
        parallel.run(steps, self.run_step)

    def run_step(self, step: Step, stop: threading.Event) -> None:
        """Run one step.

        :param stop: set when another step has failed.
        :raises DeployError: with the image, the cause and what to do next.
        """
        image = next((image for image in self.images if image.name == step.name), None)
        began = time.monotonic()
        # Each step has its own connection, because threads must not share one, and its own progress reports.
        client, progress = self.connect(), Reporter(self.params["progress_file"])
        if step.action == REMEMBER:
            self.save_choice()
        elif step.action == PULL:
            pull.pull(client, step.name, self.params["registry_logins"], progress, stop)
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
        if not self.params["archive"]:
            raise DeployError(
                f"image {image.name} has to be built, but the module has no build context; run it through the "
                "action plugin"
            )
        context = image_build.context(self.params["archive"], image.purpose, self.params["ca_bundle"])
        args = {**image_build.read_mirrors(), **{key: str(value) for key, value in self.params["build_args"].items()}}
        image_build.build(client, image, base, context, args, progress, stop)

    def run_smoke_test(self, client: Any, image: Image, progress: Reporter) -> None:
        """Run an image once, check the result, and store it."""
        found = self.inspect(image.name, client)
        if not found:
            raise DeployError(
                f"image {image.name} disappeared from this host; stop whatever removes images there, then try again"
            )
        progress.say(f"{image.purpose} image: try {image.name}")
        result = smoke_test.run(client, image.name, found.id, self.params["notebook_dir"])
        smoke_test.check_result(image.name, result, self.params["hub_version"], self.params["notebook_dir"])
        with self.lock:
            self.test_results[smoke_test.key(found.id, self.params["notebook_dir"])] = result
            smoke_test.save(self.params["proofs_file"], self.test_results)

    def record_image(self, client: Any, image: Image | None) -> None:
        """Record that this project pulled or built an image, with the first stage of its build."""
        path, hub = self.params["record_file"], self.params["hub"]
        found = self.inspect(image.name, client) if image else None
        if not image or not found:
            return
        stage = image_build.newest_stage(client, image.purpose) if image.how == BUILD else None
        with self.lock:
            record = prune.with_image(prune.load(path), hub, image.purpose, found.id, image.name)
            if stage:
                record = prune.with_image(record, hub, prune.STAGE + image.purpose, stage)
            prune.save(path, record)

    def save_choice(self) -> None:
        """Store the choice of ``auto``."""
        path = self.params["choice_file"]
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.choice["source"] + "\n")

    def report(self, steps: list[Step]) -> dict[str, Any]:
        """Return the module's result, from the images that the host has now."""
        now = {image.name: self.inspect(image.name) for image in self.images}
        ids = {name: found.id if found else None for name, found in now.items()}
        folder, test_results, warnings = self.params["notebook_dir"], {}, []
        for image in self.images:
            tested = self.test_results.get(smoke_test.key(ids[image.name] or "", folder))
            if image.purpose in SERVER_PURPOSES and tested:
                test_results[image.name] = tested
                warnings += smoke_test.check_result(image.name, tested, self.params["hub_version"], folder)
        result = outcome(self.choice["source"], self.images, ids, warnings)
        if self.check_mode:  # an image that would be pulled or built has no id yet
            due = {step.name for step in steps if step.action in (PULL, BUILD, BOOTSTRAP)}
            result["images"] = [
                {**image, "id": None if image["name"] in due else image["id"]} for image in result["images"]
            ]
        record = prune.load(self.params["record_file"])
        current = prune.by_kind(result["images"])
        result["look_for_old_images"] = prune.needs_pruning(record, self.params["hub"], current, self.params["keep"])
        return {
            "changed": any(step.action != SMOKE_TEST for step in steps),
            "steps": [step._asdict() for step in steps],
            "choice": self.choice,
            "proofs": test_results,
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
