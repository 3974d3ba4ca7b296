#!/usr/bin/python
"""Ansible module: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: jupyterhub_image
short_description: Have a hub's container images on the host, pulled or built, and proven
description:
  - Brings the images of one hub onto the host before anything is told of them.
  - An image that has both a reference and a build recipe is pulled or built as O(source) says. With V(auto) the engine
    is asked once whether it can reach the registry; only a registry that cannot be reached makes it build, and the
    choice is kept in O(choice_file).
  - An image from which users' servers start is run once, without network, when its content is new. Without
    C(jupyterhub-singleuser) it is refused.
  - Run through the action plugin of the same name, it shows its progress, and contexts are given as folders of the
    control machine.
author: jupyterhub-deploy-ansible
options:
  source:
    description: Whether images that leave the choice are pulled or built.
    type: str
    choices: [auto, pull, build]
    default: pull
  choice_file:
    description: Where V(auto) keeps what it chose. Remove it to have the choice made again.
    type: path
    default: /etc/jupyterhub-deploy/image-source
  proofs_file:
    description: Where proofs are remembered, by image id.
    type: path
    default: /var/lib/jupyterhub-deploy/image-proofs.json
  hub:
    description: Name of the hub that the images are for. What is brought for it is remembered under this name.
    type: str
    default: jupyterhub
  keep:
    description: How many earlier images of each kind that hub keeps; see the module C(jupyterhub_old_images).
    type: int
    default: -1
  record_file:
    description: Where it is remembered which images were brought here.
    type: path
    default: /var/lib/jupyterhub-deploy/images.json
  images:
    description: The images, the base image among them when anything is built.
    type: list
    elements: dict
    required: true
    suboptions:
      purpose:
        description: What the image is for. The notebook image is proven.
        type: str
        required: true
        choices: [base, hub, proxy, notebook]
      reference:
        description: The name to pull, with a tag or a digest.
        type: str
        default: ""
      build:
        description: How to build it.
        type: dict
        suboptions:
          tag:
            description: The name to build.
            type: str
            required: true
          context:
            description: Folder on the control machine with a Dockerfile. The action plugin replaces it by its digest.
            type: str
          context_digest:
            description: Set by the action plugin.
            type: str
            default: ""
          args:
            description: Build arguments that decide what is built. For the base image V(suite) and V(packages).
            type: dict
            default: {}
  notebooks:
    description: More notebook images to pull, by reference.
    type: list
    elements: str
    default: []
  pull_policy:
    description:
      - V(missing) pulls what is not there and otherwise asks no registry.
      - V(always) asks the registry each time and pulls what changed under the same name. It is not asked for what was
        built here or is named by a digest, nor for the base image.
      - V(never) fails when an image that would be pulled is not there.
    type: str
    choices: [missing, always, never]
    default: missing
  registry_logins:
    description: Accounts for registries. They go with each request and are not kept on the host.
    type: list
    elements: dict
    default: []
    suboptions:
      registry:
        description: The registry's host, with its port if it has one; C(docker.io) for Docker Hub.
        type: str
        required: true
      username:
        description: The account.
        type: str
        required: true
      password:
        description: Its password or token.
        type: str
        required: true
  ca_bundle:
    description: PEM file on the host with the certificates that downloads inside a build are checked with.
    type: path
    default: /etc/ssl/certs/ca-certificates.crt
  build_args:
    description: More build arguments, for mirrors and proxies. They do not count as a change of the image.
    type: dict
    default: {}
  hub_version:
    description: JupyterHub's version in the hub, compared with the notebook image's.
    type: str
    required: true
  notebook_dir:
    description: The folder that has to be writable for the notebook image's user.
    type: str
    default: /home/jovyan/work
  archive:
    description: Set by the action plugin; tarball of the build contexts on the target.
    type: path
  progress_file:
    description: Set by the action plugin; file to append lines of progress to.
    type: path
attributes:
  check_mode:
    support: full
    description: Looks at engine, files and, where it has to, at the registry; a host without an engine counts as empty.
  diff_mode:
    support: full
  idempotent:
    support: full
requirements:
  - docker (Python SDK) 5.0 or newer on the target
  - mmdebstrap on the target, when the base image is made there
"""

EXAMPLES = r"""
- name: Have the notebook image on the host
  jupyterhub_image:
    source: pull
    hub_version: 5.5.4
    images:
      - purpose: notebook
        reference: registry.example.com/course/notebook:2026-09
    registry_logins:
      - registry: registry.example.com
        username: alice
        password: "{{ vault_registry_password }}"
"""

RETURN = r"""
steps:
  description: What was done, or in check mode would be, in order, each with its reason.
  type: list
  elements: dict
  returned: success
  sample: [{"action": "pull", "purpose": "notebook", "name": "example.com/a:1", "reason": "is not on this host"}]
choice:
  description: Whether images are pulled or built, why, and whether that was decided just now.
  type: dict
  returned: success
  sample: {"source": "build", "reason": "registry quay.io cannot be reached from this host", "new": true}
proofs:
  description: What was found in the notebook images, by name.
  type: dict
  returned: success
  sample: {"example.com/a:1": {"version": "5.5.4", "uid": 1000, "gid": 100, "exists": true, "writable": true}}
result:
  description:
    - Names and ids of the hub, proxy and notebook image, the source, and warnings for the operator.
    - In C(images) all of them by purpose, for the module C(jupyterhub_old_images), and in C(look_for_old_images)
      whether that one may have something to do.
  type: dict
  returned: success
"""

import os
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.jupyterhub_deploy import (
    image_bootstrap,
    image_build,
    image_proof,
    image_pull,
    image_registry,
    old_images,
)
from ansible.module_utils.jupyterhub_deploy.docker_client import connect, connect_or_none, inspect_image
from ansible.module_utils.jupyterhub_deploy.errors import DeployError
from ansible.module_utils.jupyterhub_deploy.image_lock import alone
from ansible.module_utils.jupyterhub_deploy.image_plan import (
    BOOTSTRAP,
    BUILD,
    LABEL,
    PROVE,
    PULL,
    REMEMBER,
    SERVER_PURPOSES,
    Image,
    Present,
    Step,
    outcome,
    plan,
    resolve,
    undecided,
)
from ansible.module_utils.jupyterhub_deploy.image_reference import login_for, parse
from ansible.module_utils.jupyterhub_deploy.progress import Reporter

# Seconds that the engine may stay silent: unpacking a large layer on a slow disk.
SILENCE = 900


class Images:
    """The images of one hub on this host."""

    def __init__(self, client: Any, params: dict[str, Any], check_mode: bool = False) -> None:
        self.client = client
        self.check_mode = check_mode
        self.params = params
        self.progress = Reporter(params["progress_file"])
        self.choice = self.choose()
        self.images: list[Image] = resolve(params["images"], self.choice["source"])
        self.images += [Image("extra", name, PULL, "", {}) for name in params["notebooks"]]
        for image in self.images:
            parse(image.name)
        self.before = {image.name: found for image in self.images if (found := self.look(image.name))}
        self.proofs = image_proof.load(params["proofs_file"])

    def look(self, name: str) -> Present | None:
        """Return what the host has under a name."""
        found = inspect_image(self.client, name) if self.client else None
        if not found:
            return None
        labels = (found.get("Config") or {}).get("Labels") or {}
        return Present(found["Id"], labels.get(LABEL, ""), found.get("RepoDigests") or [])

    def choose(self) -> dict[str, Any]:
        """Decide between pull and build; see O(source).

        :raises DeployError: when the registry answers, but not with the image.
        """
        source, name = self.params["source"], undecided(self.params["images"])
        if source != "auto":
            return {"source": source, "reason": "jupyterhub_image_source says so", "new": False}
        if not name:
            return {"source": PULL, "reason": "every image that could be built is named", "new": False}
        try:
            with open(self.params["choice_file"], encoding="utf-8") as file:
                kept = file.read().strip()
        except OSError:
            kept = ""
        if kept in (PULL, BUILD):
            return {"source": kept, "reason": f"{self.params['choice_file']} keeps an earlier choice", "new": False}
        reference = parse(name)
        if not self.client:
            return {"source": PULL, "reason": "there is no engine yet that could ask the registry", "new": False}
        if self.look(name):
            return {"source": PULL, "reason": f"{name} is on this host already", "new": True}
        login = login_for(reference, self.params["registry_logins"])
        kind, text = image_registry.ask(self.client, name, reference, login)
        if kind == image_registry.REACHABLE:
            return {"source": PULL, "reason": f"registry {reference.registry} answers", "new": True}
        if kind == image_registry.UNREACHABLE:
            reason = f"registry {reference.registry} cannot be reached from this host ({text})"
            return {"source": BUILD, "reason": reason, "new": True}
        raise DeployError(image_registry.explain(kind, name, reference, login, text))

    def upstream(self) -> dict[str, str]:
        """Return, for the policy ``always``, the digests that registries have now of what the host has.

        :raises DeployError: when one does not answer with the image.
        """
        digests: dict[str, str] = {}
        if self.params["pull_policy"] != "always" or not self.client:
            return digests
        for image in self.images:
            reference = parse(image.name)
            if image.how != PULL or image.purpose == "base" or reference.digest or image.name not in self.before:
                continue
            login = login_for(reference, self.params["registry_logins"])
            kind, text = image_registry.ask(self.client, image.name, reference, login)
            if kind != image_registry.REACHABLE:
                raise DeployError(image_registry.explain_newer(kind, image.name, reference, login, text))
            digests[image.name] = text
        return digests

    def steps(self) -> list[Step]:
        """Return what has to be done."""
        params = self.params
        steps = plan(
            self.images, self.before, self.proofs, params["notebook_dir"], params["pull_policy"], self.upstream()
        )
        if self.choice["new"]:
            steps.append(Step(REMEMBER, "choice", self.params["choice_file"], self.choice["reason"]))
        return steps

    def apply(self, step: Step) -> None:
        """Carry out one step.

        :raises DeployError: with what, which image, and what next.
        """
        image = next((image for image in self.images if image.name == step.name), None)
        began = time.monotonic()
        if step.action == REMEMBER:
            self.remember()
        elif step.action == PULL:
            image_pull.pull(self.client, step.name, self.params["registry_logins"], self.progress)
            self.record(image)
            self.progress.say(f"pull {step.name}: done in {time.monotonic() - began:.0f} s")
        elif image and step.action == PROVE:
            self.prove(image)
        elif image:
            if step.action == BOOTSTRAP:
                image_bootstrap.bootstrap(self.client, image, self.progress)
            else:
                base = next(other.name for other in self.images if other.purpose == "base")
                self.build(image, base)
            self.record(image)
            self.progress.say(f"{image.purpose} image: done in {time.monotonic() - began:.0f} s")

    def build(self, image: Image, base: str) -> None:
        """Build one image from its context in the archive."""
        if not self.params["archive"]:
            raise DeployError(f"image {image.name} has to be built, but no context came along; use the action plugin")
        context = image_build.context(self.params["archive"], image.purpose, self.params["ca_bundle"])
        args = {**image_build.read_mirrors(), **{key: str(value) for key, value in self.params["build_args"].items()}}
        image_build.build(self.client, image, base, context, args, self.progress)

    def prove(self, image: Image) -> None:
        """Run an image once, judge what it says, and remember it."""
        found = self.look(image.name)
        if not found:
            raise DeployError(f"image {image.name} disappeared from this host; is something removing images there?")
        self.progress.say(f"{image.purpose} image: try {image.name}")
        proof = image_proof.run(self.client, image.name, found.id, self.params["notebook_dir"])
        image_proof.judge(image.name, proof, self.params["hub_version"], self.params["notebook_dir"])
        self.proofs[image_proof.key(found.id, self.params["notebook_dir"])] = proof
        image_proof.save(self.params["proofs_file"], self.proofs)

    def record(self, image: Image | None) -> None:
        """Remember that an image, and the first stage of its build, is here because of us."""
        path, hub = self.params["record_file"], self.params["hub"]
        found = self.look(image.name) if image else None
        if not image or not found:
            return
        record = old_images.brought(old_images.load(path), hub, image.purpose, found.id, image.name)
        stage = image_build.newest_stage(self.client, image.purpose) if image.how == BUILD else None
        if stage:
            record = old_images.brought(record, hub, old_images.STAGE + image.purpose, stage)
        old_images.save(path, record)

    def remember(self) -> None:
        """Keep what ``auto`` chose."""
        path = self.params["choice_file"]
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.choice["source"] + "\n")

    def report(self, steps: list[Step]) -> dict[str, Any]:
        """Return the module's result, from what the host has now."""
        now = {image.name: self.look(image.name) for image in self.images}
        ids = {name: found.id if found else None for name, found in now.items()}
        folder, proofs, warnings = self.params["notebook_dir"], {}, []
        for image in self.images:
            proof = self.proofs.get(image_proof.key(ids[image.name] or "", folder))
            if image.purpose in SERVER_PURPOSES and proof:
                proofs[image.name] = proof
                warnings += image_proof.judge(image.name, proof, self.params["hub_version"], folder)
        result = outcome(self.choice["source"], self.images, ids, warnings)
        if self.check_mode:  # what would be pulled or built has no id yet
            due = {step.name for step in steps if step.action in (PULL, BUILD, BOOTSTRAP)}
            result["images"] = [
                {**image, "id": None if image["name"] in due else image["id"]} for image in result["images"]
            ]
        record = old_images.load(self.params["record_file"])
        current = old_images.by_kind(result["images"])
        result["look_for_old_images"] = old_images.due(record, self.params["hub"], current, self.params["keep"])
        return {
            "changed": any(step.action != PROVE for step in steps),
            "steps": [step._asdict() for step in steps],
            "choice": self.choice,
            "proofs": proofs,
            "result": result,
            "diff": self.diff(steps, ids),
        }

    def diff(self, steps: list[Step], ids: dict[str, str | None]) -> dict[str, Any]:
        """Return image ids before and after; in place of an id that does not exist yet, what would be done."""
        before = {name: self.before[name].id if name in self.before else "absent" for name in ids}
        due = {step.name: f"{step.action}: {step.reason}" for step in steps if step.action in (PULL, BUILD, BOOTSTRAP)}
        after = {name: found or "absent" for name, found in ids.items()}
        later = {name: due[name] for name in ids if name in due and after[name] == before[name]}
        return {"before": before, "after": {**after, **later}}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Observe, plan and, unless in check mode, apply; return the module's result."""
    if module.check_mode:
        images = Images(connect_or_none(), module.params, check_mode=True)
        return images.report(images.steps())
    with alone(Reporter(module.params["progress_file"])):
        images = Images(connect(SILENCE), module.params)
        steps = images.steps()
        for step in steps:
            images.apply(step)
        return images.report(steps)


def main() -> None:
    """Entry point."""
    build = {
        "tag": {"type": "str", "required": True},
        "context": {"type": "str"},
        "context_digest": {"type": "str", "default": ""},
        "args": {"type": "dict", "default": {}},
    }
    image = {
        "purpose": {"type": "str", "required": True, "choices": ["base", "hub", "proxy", "notebook"]},
        "reference": {"type": "str", "default": ""},
        "build": {"type": "dict", "options": build},
    }
    login = {
        "registry": {"type": "str", "required": True},
        "username": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
    }
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "choices": ["auto", "pull", "build"], "default": "pull"},
            "choice_file": {"type": "path", "default": "/etc/jupyterhub-deploy/image-source"},
            "proofs_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/image-proofs.json"},
            "hub": {"type": "str", "default": "jupyterhub"},
            "keep": {"type": "int", "default": -1},
            "record_file": {"type": "path", "default": "/var/lib/jupyterhub-deploy/images.json"},
            "images": {"type": "list", "elements": "dict", "required": True, "options": image},
            "notebooks": {"type": "list", "elements": "str", "default": []},
            "pull_policy": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
            "registry_logins": {"type": "list", "elements": "dict", "default": [], "options": login},
            "ca_bundle": {"type": "path", "default": "/etc/ssl/certs/ca-certificates.crt"},
            "build_args": {"type": "dict", "default": {}},
            "hub_version": {"type": "str", "required": True},
            "notebook_dir": {"type": "str", "default": "/home/jovyan/work"},
            "archive": {"type": "path"},
            "progress_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except DeployError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
