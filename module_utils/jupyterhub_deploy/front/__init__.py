"""The front: one nginx container per host, which ends TLS and passes requests to the proxies of the hubs."""
