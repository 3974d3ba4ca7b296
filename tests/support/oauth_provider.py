"""GitHub and GitLab for tests: the documented endpoints for a sign-in, on one address of this machine.

As documented in https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps,
https://docs.github.com/en/rest/orgs/members, https://docs.github.com/en/rest/teams/members and
https://docs.gitlab.com/api/oauth2/, https://docs.gitlab.com/api/users/, https://docs.gitlab.com/api/members/. GitHub
has the paths of an Enterprise server. Both are stricter than the real ones: they refuse a request without ``state`` or
without a PKCE challenge (S256).
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

CLIENT_ID = "hub-at-provider"
CODE_ERROR = "The code passed is incorrect or expired."


@dataclasses.dataclass
class Person:
    """A user with an account at both.

    `groups` are GitHub's organisations (``org``) and teams (``org:team``) and GitLab's groups; `projects` is GitLab's
    access level by project.
    """

    number: int
    groups: set[str] = dataclasses.field(default_factory=set)
    projects: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class _Grant:
    who: str
    scopes: set[str]
    redirect_uri: str
    challenge: str


class OAuthProvider:
    """The provider, in threads of the test's process until `stop`.

    Attributes:
        url: its address, without a trailing slash.
        client_secret: of the one application that is registered.
        callback: the registered callback of the application; redirects may lead to it or below it.
        codes_expire: whether every code has expired when it is used.
        page_for: a regular expression for paths that are answered with `page`, as by the portal of a network.
        page: any text.
        token_error: the error in place of each token, ``""`` for none.
        fails: a regular expression for paths that are answered with an error, and its status.
        asked: requested paths, in order.
        issued: all codes and tokens.
    """

    def __init__(self, address: str) -> None:
        self.people: dict[str, Person] = {}
        self.client_secret = secrets.token_hex(20)
        self.callback = ""
        self.codes_expire = False
        self.page_for = ""
        self.page = "<h1>Sign in to this network</h1>"
        self.token_error = ""
        self.fails: tuple[str, int] | None = None
        self.asked: list[str] = []
        self.issued: list[str] = []
        self._codes: dict[str, _Grant] = {}
        self._tokens: dict[str, _Grant] = {}
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self.port = self._server.server_address[1]
        self.url = f"http://{address}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop: connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()

    # ---- both: authorize and token

    def authorize(self, query: dict[str, str], path: str) -> tuple[int, str]:
        """Return status and page, or status 302 and a URL: the page asks for the user, ``as`` is the answer."""
        callback = query.get("redirect_uri", "")
        if query.get("client_id") != CLIENT_ID:
            return 404, "There is no such application."
        if not self.callback or not (callback + "/").startswith(self.callback.rstrip("/") + "/"):
            return 400, f"The redirect_uri {html.escape(callback)} is not registered for this application."
        if query.get("response_type", "code") != "code" or not query.get("state"):
            return 400, "A request without state can be forged."
        if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            return 400, "A request without PKCE is refused here."
        who = query.get("as")
        if who is None:
            choices = "".join(
                f'<li><a href="{path}?{html.escape(urlencode({**query, "as": name}))}">{name}</a></li>'
                for name in [*self.people, "cancel"]
            )
            return 200, f"<h1>Who are you?</h1><ul>{choices}</ul>"
        if who == "cancel":
            refusal = {"error": "access_denied", "error_description": "The user has denied your application access."}
            return 302, f"{callback}?{urlencode({**refusal, 'state': query['state']})}"
        code = secrets.token_hex(10)
        self.issued.append(code)
        scopes = set(re.split(r"[ ,]+", query.get("scope", ""))) - {""}
        self._codes[code] = _Grant(who, scopes, callback, query["code_challenge"])
        return 302, f"{callback}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], wrong_hub: str, wrong_code: str) -> tuple[str, dict[str, Any]]:
        """Return ("", token), or (error, body) as the provider sends them."""
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != self.client_secret:
            return wrong_hub, {"error": wrong_hub, "error_description": "Client authentication failed."}
        if self.token_error:
            return self.token_error, {"error": self.token_error, "error_description": "As the test wants."}
        grant = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        verified = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if grant is None or self.codes_expire or verified != grant.challenge:
            return wrong_code, {"error": wrong_code, "error_description": CODE_ERROR}
        if form.get("redirect_uri") != grant.redirect_uri:
            return "redirect_uri_mismatch", {"error": "redirect_uri_mismatch", "error_description": "Not the same."}
        token = secrets.token_hex(20)
        self.issued.append(token)
        self._tokens[token] = grant
        return "", {"access_token": token, "token_type": "bearer", "scope": ",".join(sorted(grant.scopes))}

    def grant_of(self, authorization: str) -> _Grant | None:
        """Return the grant of the token in an ``Authorization`` header."""
        return self._tokens.get(authorization.partition(" ")[2])

    # ---- each: the API about users, (status, body)

    def github(self, path: str, grant: _Grant) -> tuple[int, Any]:
        """Answer below ``/api/v3``."""
        person = self.people[grant.who]
        if path == "/user":
            return 200, {"login": grant.who, "id": person.number, "name": grant.who.title(), "email": None}
        member = re.fullmatch(r"/orgs/([^/]+)(?:/teams/([^/]+))?/members/([^/]+)", path)
        if member is None:
            return 404, {"message": "Not Found"}
        if "read:org" not in grant.scopes:
            return 302, None  # as for a user who is not a member: to the public members
        group = f"{member[1]}:{member[2]}" if member[2] else member[1]
        found = self.people.get(unquote(member[3]))
        return (204, None) if found is not None and group in found.groups else (404, {"message": "Not Found"})

    def gitlab(self, path: str, grant: _Grant) -> tuple[int, Any]:
        """Answer below ``/api/v4``."""
        person = self.people[grant.who]
        if path == "/user":
            if not grant.scopes & {"read_user", "read_api", "api"}:
                return 403, {"error": "insufficient_scope"}
            return 200, {"id": person.number, "username": grant.who, "name": grant.who.title(), "state": "active"}
        if not grant.scopes & {"read_api", "api"}:
            return 403, {"error": "insufficient_scope"}
        if path == "/version":
            return 200, {"version": "17.5.1-ee", "revision": "1a2b3c4"}
        member = re.fullmatch(r"/(groups|projects)/([^/]+)/members/all/(\d+)", path)
        found = next((each for each in self.people.values() if member and each.number == int(member[3])), None)
        if member is None or found is None:
            return 404, {"message": "404 Not found"}
        # With ``all``, a member of a group is also a member of its subgroups.
        path_of = unquote(member[2])
        level = 30 if any((path_of + "/").startswith(group + "/") for group in found.groups) else 0
        if member[1] == "projects":
            level = found.projects.get(path_of, 0)
        return (200, {"id": found.number, "access_level": level}) if level else (404, {"message": "404 Not found"})


def _handler(provider: OAuthProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            provider.asked.append(url.path)
            if provider.fails and re.search(provider.fails[0], url.path):
                self._answer(provider.fails[1], {"message": "Out of order"})
                return
            if self._is_page(url.path):
                return
            if url.path in ("/login/oauth/authorize", "/oauth/authorize"):
                status, text = provider.authorize(dict(parse_qsl(url.query)), url.path)
                self._answer(status, text, "text/html", location=text if status == 302 else "")
                return
            for start, answer in (("/api/v3", provider.github), ("/api/v4", provider.gitlab)):
                if url.path.startswith(start + "/"):
                    grant = provider.grant_of(self.headers.get("Authorization", ""))
                    status, body = answer(url.path[len(start) :], grant) if grant else (401, {"message": "Bad token"})
                    self._answer(status, body, location=f"{provider.url}/public" if status == 302 else "")
                    return
            self._answer(404, {"message": "Not Found"})

        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            provider.asked.append(path)
            if self._is_page(path):
                return
            form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
            if path == "/login/oauth/access_token":  # GitHub sends errors with status 200
                _, body = provider.token(form, "incorrect_client_credentials", "bad_verification_code")
                self._answer(200, body)
            elif path == "/oauth/token":
                error, body = provider.token(form, "invalid_client", "invalid_grant")
                self._answer({"": 200, "invalid_client": 401}.get(error, 400), body)
            else:
                self._answer(404, {"message": "Not Found"})

        def _is_page(self, path: str) -> bool:
            if not provider.page_for or not re.search(provider.page_for, path):
                return False
            self._answer(200, provider.page, "text/html")
            return True

        def _answer(self, status: int, body: Any, kind: str = "application/json", location: str = "") -> None:
            data = b"" if body is None else (body if kind == "text/html" else json.dumps(body)).encode()
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(0 if status == 204 else len(data)))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output short."""

    return Handler
