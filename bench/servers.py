"""How the servers of a run are started: nginx, haproxy, the identity provider and the gateway, from templates."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from bench.programs import ROOT, BenchError, Cores, Program, free_port

METRICS = True
"""Whether the gateway collects metrics while it is measured. True as soon as its configuration accepts it."""

_HERE = Path(__file__).parent


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put values where `@NAME@` stands."""
    for name, value in values.items():
        template = template.replace(f"@{name}@", value)
    return template


def nginx(program: str, folder: Path, template: str, core: Cores, values: Mapping[str, str], name: str = "") -> Program:
    """An nginx of one worker with `bench/nginx/<template>.conf`, called `name` if there are several of a template."""
    port, name = free_port(), name or template
    body = (_HERE / "nginx" / f"{template}.conf").read_text()
    text = (_HERE / "nginx" / "main.conf").read_text().replace("@BODY@", body)
    file = folder / f"{name}.conf"
    file.write_text(fill(text, {**values, "PORT": str(port), "NAME": name, "FOLDER": str(folder)}))
    command = (program, "-p", str(folder), "-e", "stderr", "-c", str(file))
    log = folder / f"{name}.log"
    grows = (log, folder / f"{name}.access.log") if "@NAME@.access.log" in body else ()
    return Program(f"nginx ({name})", command, f"http://127.0.0.1:{port}/", log, core, grows=grows)


def haproxy(program: str, folder: Path, core: Cores, values: Mapping[str, str]) -> Program:
    """A haproxy of one thread with `bench/haproxy/plain.cfg`."""
    port, file, log = free_port(), folder / "haproxy.cfg", folder / "haproxy.log"
    file.write_text(fill((_HERE / "haproxy" / "plain.cfg").read_text(), {**values, "PORT": str(port)}))
    command = (program, "-db", "-f", str(file))
    return Program("haproxy", command, f"http://127.0.0.1:{port}/", log, core, grows=(log,))


def mock_auth0(folder: Path, core: Cores) -> Program:
    """The identity provider."""
    port = free_port()
    command = (sys.executable, "-m", "mock_auth0", "--port", str(port))
    return Program(
        "mock_auth0", command, f"http://127.0.0.1:{port}/.well-known/jwks.json", folder / "mock_auth0.log", core
    )


def configuration(text: str, server: Mapping[str, str]) -> str:
    """A gateway.yaml with more settings in its server block, and with metrics. Raises BenchError."""
    begin = "\nserver:\n"
    if text.count(begin) != 1:
        raise BenchError("gateway.yaml has no server block to put settings into")
    more = "".join(f"  {name}: {value}\n" for name, value in server.items())
    return text.replace(begin, begin + more) + ("\nmetrics: {enabled: true}\n" if METRICS else "")


def gateway(
    folder: Path, cores: Cores, upstream: Program, auth0: Program, server: Mapping[str, str] | None = None
) -> Program:
    """noetl-edge with this repository's gateway.yaml: file session store, access rules, access log as JSON to a file.

    `server` are settings for its server block. Each gateway of a run has a store of its own.
    """
    port, provider = free_port(), f"localhost:{auth0.port}"
    file, log = folder / f"gateway-{port}.yaml", folder / f"gateway-{port}.log"
    file.write_text(configuration((ROOT / "gateway.yaml").read_text(), server or {}))
    return Program(
        "noetl-edge",
        (sys.executable, "-m", "proxy", "serve", "--config", str(file)),
        f"http://127.0.0.1:{port}/health",
        log,
        cores,
        {
            "AUTH0_DOMAIN": provider,
            "AUTH0_ISSUER": f"http://{provider}/",
            "AUTH0_AUDIENCE": "noetl-gateway",
            "NOETL_BASE_URL": upstream.url,
            "NOETL_EDGE_LOGIN_RATE": "1000000/second",
            "GATEWAY_PORT": str(port),
            "NOETL_EDGE_AUDIT": str(folder / f"audit-{port}.log"),
            "NOETL_EDGE_SESSIONS": str(folder / f"sessions-{port}"),
        },
        grows=(log,),
    )
