"""A person at the tenant's login page: reads the form out of the page, fills it in and posts it, as a browser does."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx

CLIENT_ID = "noetl-gateway"
CALLBACK = "http://localhost:3000/callback"
SCOPE = "openid profile email"


class _Form(HTMLParser):
    """Collects the one form of a login page."""

    def __init__(self, page: httpx.Response) -> None:
        super().__init__()
        self.action, self.method, self.fields = "", "", dict[str, str]()
        self.feed(page.text)
        assert self.method == "post", f"no form to post in the answer {page.status_code}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action, self.method = found.get("action", ""), found.get("method", "get").lower()
        elif tag == "input" and found.get("name"):
            self.fields[found["name"]] = found.get("value", "")


def fill_in(auth0_url: str, parameters: dict[str, str], email: str, password: str) -> httpx.Response:
    """Ask for a login and post the form; the answer is a redirect, or the page again if the password is wrong."""
    return fill_in_at(f"{auth0_url}/authorize?{urlencode(parameters)}", email, password)


def fill_in_at(address: str, email: str, password: str, *, authority: Path | None = None) -> httpx.Response:
    """Fill in the form at an address as `fill_in` does; `authority` is the one that signed the certificate of https."""
    verify = ssl.create_default_context(cafile=str(authority)) if authority is not None else True
    with httpx.Client(timeout=10, trust_env=False, verify=verify) as browser:
        page = browser.get(address)
        form = _Form(page)
        values = form.fields | {"username": email, "password": password}
        return browser.post(urljoin(str(page.url), form.action), data=values)


def implicit_request() -> dict[str, str]:
    """The parameters of the implicit flow."""
    return {
        "response_type": "id_token token",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": SCOPE,
        "nonce": secrets.token_hex(8),
        "state": secrets.token_hex(8),
    }


def implicit_login(auth0_url: str, email: str, password: str) -> str:
    """Sign in by the implicit flow; returns the id_token from the redirect's fragment."""
    asked = implicit_request()
    answer = fill_in(auth0_url, asked, email, password)
    return _came_back(answer, asked["state"], fragment=True)["id_token"]


def code_login(auth0_url: str, email: str, password: str) -> str:
    """Sign in by authorization code with PKCE (RFC 7636, S256); returns the id_token."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "scope": SCOPE,
        "state": secrets.token_hex(8),
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    back = _came_back(fill_in(auth0_url, asked, email, password), asked["state"], fragment=False)
    form = {
        "grant_type": "authorization_code",
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "code": back["code"],
        "code_verifier": verifier,
    }
    answer = httpx.post(f"{auth0_url}/oauth/token", data=form, timeout=10, trust_env=False)
    assert answer.status_code == 200, f"/oauth/token said {answer.status_code}: {answer.text}"
    token: str = answer.json()["id_token"]
    return token


def _came_back(answer: httpx.Response, state: str, *, fragment: bool) -> dict[str, str]:
    assert answer.status_code == 302, f"the login form was answered {answer.status_code}, not a redirect"
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == CALLBACK, f"sent to {location.netloc}"
    back = dict(parse_qsl(location.fragment if fragment else location.query))
    assert back.get("state") == state, "the state did not come back"
    return back
