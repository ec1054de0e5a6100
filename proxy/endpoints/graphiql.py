"""The GraphiQL page: one self-contained document, which loads nothing from other hosts."""

from __future__ import annotations

import base64
import gzip
import hashlib
from functools import cache
from importlib.resources import files

from proxy.http.request import RequestFields
from proxy.http.response import Response

_SCRIPTS = ("react.production.min.js", "react-dom.production.min.js", "graphiql.min.js")
_STYLE = "graphiql.min.css"
_START = """
const fetcher = GraphiQL.createFetcher({ url: location.pathname });
const root = ReactDOM.createRoot(document.getElementById("graphiql"));
root.render(React.createElement(GraphiQL, {
  fetcher,
  defaultEditorToolsVisibility: "headers",
  defaultHeaders: '{\\n  "Authorization": "Bearer YOUR_SESSION_TOKEN"\\n}',
  shouldPersistHeaders: false,
  defaultQuery: "query Playbooks {\\n  playbooks {\\n    name\\n    description\\n  }\\n}\\n",
}));
"""
_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>GraphiQL is not installed</title>
<h1>GraphiQL is not installed</h1>
<p>Its assets come from npm. In a checkout, run <code>make pages</code> (it needs npm) and start the gateway again;
or install noetl-edge from a wheel, which carries them. Queries by POST work without it.</p></html>"""


@cache
def load_page() -> Page:
    """Read the assets and build the page, once; where they are missing the page says how to get them."""
    folder = files("proxy.graphql").joinpath("assets")
    try:
        scripts = [folder.joinpath(name).read_text("utf-8") for name in _SCRIPTS]
        style = folder.joinpath(_STYLE).read_text("utf-8")
    except FileNotFoundError:
        return Page(_MISSING, (), 503)
    scripts = [script.replace("</script", "<\\/script") for script in [*scripts, _START]]
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>GraphiQL - noetl-edge</title>'
        f"<style>{style}</style><style>body{{margin:0;height:100vh}}#graphiql{{height:100vh}}</style></head>"
        f'<body><div id="graphiql">Loading…</div>{"".join(f"<script>{s}</script>" for s in scripts)}</body></html>'
    )
    return Page(html, tuple(_hash(script) for script in scripts), 200)


def _hash(script: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"


class Page:
    """A ready page, compressed once."""

    def __init__(self, html: str, hashes: tuple[str, ...], status: int) -> None:
        self._status = status
        self._plain = html.encode()
        self._packed = gzip.compress(self._plain, 9)
        self._etag = f'"{hashlib.sha256(self._plain).hexdigest()[:32]}"'
        allowed = " ".join(hashes) or "'none'"
        self._policy = (
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
            "font-src data:; img-src data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        )

    def response(self, fields: RequestFields) -> Response:
        """Return the page, compressed where the client accepts that, or 304 (RFC 9110, 13.1.2)."""
        page = (
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", self._policy),
            ("cache-control", "no-cache"),
            ("etag", self._etag),
            ("vary", "accept, accept-encoding"),
        )
        if fields.value(b"if-none-match") == self._etag:
            return Response(304, page)
        if "gzip" in (fields.value(b"accept-encoding") or ""):
            return Response(self._status, (*page, ("content-encoding", "gzip")), self._packed)
        return Response(self._status, page, self._plain)
