#!/bin/sh
# Start nginx, and beside it the loop that renews its certificates.
#
# FRONT_RENEW_SECONDS   seconds between two checks for certificates that are due (21600, six hours)
#
# /etc/front is the host's directory /etc/jupyterhub-front, read and written:
#   nginx.conf              the configuration of nginx
#   challenges/             what an ACME server fetches by HTTP; nginx's workers read it
#   acme/                   certbot's directory, with the account and the certificates: live/<hub>/fullchain.pem
#   acme/settings/<hub>/    certbot's settings for one hub, written by module_utils/jupyterhub_deploy/front/acme.py
#   acme/last_renewal.json  the result of the last check
#   acme/front.lock         held while certbot runs, also by the front that replaces this one
# Everything else may be read-only, except a tmpfs on each of /run, /tmp, /var/lib/nginx (bodies of requests) and
# /var/log. Capabilities: NET_BIND_SERVICE, and CHOWN, SETUID and SETGID for the workers, which run as www-data.
set -eu

# The directory of the certificates is root's; nginx's workers must reach challenges/ only.
umask 077
if [ ! -f /etc/front/nginx.conf ]; then
    echo "front: /etc/front/nginx.conf is missing; mount /etc/jupyterhub-front there, and run make site" >&2
    exit 1
fi
mkdir -p /etc/front/acme /etc/front/challenges /var/log/nginx
chmod 711 /etc/front
chmod 700 /etc/front/acme
chmod 755 /etc/front/challenges

# Two for each connection of a browser. nginx cannot raise the limit of its container, and logs an alert if it tries.
files=$(ulimit -H -n)
[ "$files" != unlimited ] && [ "$files" -lt 65536 ] || files=65536
echo "worker_rlimit_nofile $files;" > /run/limits.conf

# It ends with the signal that makes nginx drain (tini -g sends it to all), so that two fronts never renew at once.
python3 /opt/front/renew.py &

exec nginx -c /etc/front/nginx.conf -g 'daemon off;'
