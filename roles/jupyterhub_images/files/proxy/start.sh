#!/bin/sh
# Start configurable-http-proxy as an unprivileged user, with its API only on the control network.
#
# The default is in parentheses.
# PROXY_API_HOST        name of this container on the control network, on whose address the API listens, port 8001;
#                       another proxy, which this one replaces, may have it, too (jupyterhub-proxy-api)
# PROXY_TOKEN_FILE      file with the token for the API, readable only by root (/etc/jupyterhub/secrets/proxy_token)
# PROXY_DEFAULT_TARGET  target of requests without a route, for example http://jupyterhub:8081 (none)
# PROXY_HOST_ROUTING    1: routes begin with a host name, because each user has an origin (none)
# PROXY_LOG_LEVEL       debug, info, warn or error (info)
set -eu

token_file=${PROXY_TOKEN_FILE:-/etc/jupyterhub/secrets/proxy_token}
api_host=${PROXY_API_HOST:-jupyterhub-proxy-api}
user=65534

fail() {
    echo "proxy: $1" >&2
    exit 1
}

# In the environment, because every process on the host can read the arguments of others.
CONFIGPROXY_AUTH_TOKEN=$(cat "$token_file") || fail "cannot read the token in $token_file; mount the secrets there"
[ -n "$CONFIGPROXY_AUTH_TOKEN" ] || fail "the token in $token_file is empty; remove the file and run make site again"
export CONFIGPROXY_AUTH_TOKEN

# Docker may attach the network shortly after the start, so the name is resolved up to ten times.
address=
for _ in 1 2 3 4 5 6 7 8 9 10; do
    address=$(getent ahostsv4 "$api_host" | awk -v own=" $(hostname -I) " 'index(own, " " $1 " ") { print $1; exit }')
    [ -n "$address" ] && break
    sleep 1
done
[ -n "$address" ] ||
    fail "the name $api_host does not resolve to this container; give it that alias on the control network"

set -- --ip 0.0.0.0 --port 8000 --api-ip "$address" --api-port 8001 \
    --error-path /opt/proxy/error --log-level "${PROXY_LOG_LEVEL:-info}"
[ -z "${PROXY_HOST_ROUTING:-}" ] || set -- "$@" --host-routing
[ -z "${PROXY_DEFAULT_TARGET:-}" ] || set -- "$@" --default-target "$PROXY_DEFAULT_TARGET"

# While a hub is replaced, its name has two addresses, and one of them may not answer. Node tries the next one after
# 250 ms, but then also drops a connection that was accepted while Node itself was busy for that long, and answers 503.
cd /opt/proxy
echo $$ > /tmp/proxy.pid  # for the signal that drain.js handles
exec setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
    node --require ./drain.js --network-family-autoselection-attempt-timeout=2000 \
    node_modules/configurable-http-proxy/bin/configurable-http-proxy "$@"
