"""The size of each image that this project builds, on the engine of this machine or of a test host.

python -m bench.image_sizes
"""

from __future__ import annotations

import json

from bench.common import deployed, table


def main() -> None:
    """Measure and print the table."""
    with deployed() as site:
        listed = site.host.run("docker images --format '{{.Repository}}:{{.Tag}}' | grep ^jupyterhub-deploy/").stdout
        rows = []
        for name in sorted(listed.split()):
            found = json.loads(site.host.run(["docker", "image", "inspect", name]).stdout)[0]
            rows.append([f"`{name}`", found["Size"] / 1e6, len(found["RootFS"]["Layers"])])
        disk = site.host.run("du -s --block-size=1000000 /var/lib/docker").stdout.split()[0]
    print(table(["image", "MB", "layers"], rows))
    print(
        f"\nEverything below /var/lib/docker: {disk} MB (images share layers; what builds leave for the next is in it)."
    )


if __name__ == "__main__":
    main()
