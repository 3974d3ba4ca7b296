#!/bin/sh
# Start configurable-http-proxy as an unprivileged user whose API only the control network can reach.
#
# PROXY_API_HOST        a name of this container on the control network (jupyterhub-proxy-api); the API, port 8001, listens on that address only
# PROXY_TOKEN_FILE      the token that the hub shows to the API (/etc/jupyterhub/secrets/proxy_token), readable only by root
# PROXY_DEFAULT_TARGET  where requests without a route go, for example http://jupyterhub:8081 (nowhere)
# PROXY_LOG_LEVEL       debug, info, warn or error (info)
set -eu

token_file=${PROXY_TOKEN_FILE:-/etc/jupyterhub/secrets/proxy_token}
api_host=${PROXY_API_HOST:-jupyterhub-proxy-api}
user=65534

fail() {
    echo "proxy: $1" >&2
    exit 1
}

# In the environment and not on the command line: arguments can be read by every process of the host.
CONFIGPROXY_AUTH_TOKEN=$(cat "$token_file") || fail "cannot read the token in $token_file; mount the secrets there"
[ -n "$CONFIGPROXY_AUTH_TOKEN" ] || fail "the token in $token_file is empty; remove the file and run site.yml again"
export CONFIGPROXY_AUTH_TOKEN

# A network may be attached a moment after the start, so its name is asked for ten times.
address=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    address=$(getent ahostsv4 "$api_host" | awk 'NR == 1 { print $1 }')
    [ -n "$address" ] && break
    sleep 1
done
[ -n "$address" ] || fail "the name $api_host does not resolve; give this container that alias on the control network"

set -- --ip 0.0.0.0 --port 8000 --api-ip "$address" --api-port 8001 \
    --error-path /opt/proxy/error --log-level "${PROXY_LOG_LEVEL:-info}"
[ -z "${PROXY_DEFAULT_TARGET:-}" ] || set -- "$@" --default-target "$PROXY_DEFAULT_TARGET"

cd /opt/proxy
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
    node node_modules/configurable-http-proxy/bin/configurable-http-proxy "$@"
