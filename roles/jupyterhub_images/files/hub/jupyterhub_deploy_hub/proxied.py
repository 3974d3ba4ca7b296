"""Requests to sign-in providers through an HTTP proxy, which Tornado's own client does not support.

Tornado supports one with pycurl, which JupyterHub would then use for all its requests. The standard library reads
``HTTPS_PROXY`` and ``NO_PROXY``, and trusts the same certificates as Tornado.
"""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

_TIMEOUT = 20  # seconds; the default of Tornado's client


def is_configured() -> bool:
    """Return whether the environment names a proxy for HTTPS."""
    return "https" in urllib.request.getproxies_environment()


def is_used(url: str) -> bool:
    """Return whether a request to a URL goes through the proxy."""
    return is_configured() and not urllib.request.proxy_bypass(urlsplit(url).netloc)


class ProxiedClient:
    """The part of ``AsyncHTTPClient`` that OAuthenticator uses."""

    async def fetch(self, request: HTTPRequest, raise_error: bool = True) -> HTTPResponse:
        """Return the answer to a request. Raise HTTPClientError for an error status, OSError without an answer."""
        response = await asyncio.get_running_loop().run_in_executor(None, _fetch, request)
        if raise_error:
            response.rethrow()
        return response


def _fetch(request: HTTPRequest) -> HTTPResponse:
    context = ssl.create_default_context()
    if request.validate_cert is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    asked = urllib.request.Request(  # noqa: S310  (the administrator names the addresses)
        request.url, data=request.body, headers=dict(request.headers), method=request.method
    )
    try:
        with _opened(opener, asked, request.request_timeout or _TIMEOUT) as answer:
            headers = HTTPHeaders(dict(answer.headers))
            return HTTPResponse(request, answer.status, headers=headers, buffer=io.BytesIO(answer.read()))
    except http.client.HTTPException as error:  # not an OSError: what came is not HTTP, or ended too early
        raise OSError(f"{type(error).__name__}: {error}") from error


def _opened(opener: urllib.request.OpenerDirector, asked: urllib.request.Request, timeout: float) -> Any:
    """Return the answer to a request, with any status."""
    try:
        return opener.open(asked, timeout=timeout)
    except urllib.error.HTTPError as error:
        return error
    except urllib.error.URLError as error:
        # The reason is of the same class as the error that Tornado's client raises.
        raise error.reason if isinstance(error.reason, OSError) else error from error
