"""Reading gateway.yaml: what is wrong is told with its place, and all at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from proxy.config.load import Loaded, load
from proxy.config.problems import ConfigError

Read = Callable[..., Loaded]
UPSTREAM = "upstreams: {noetl: {urls: ['http://localhost:8082']}}\n"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Loads a text as gateway.yaml, with an environment, and with other files beside it."""

    def read(text: str | bytes, environ: Mapping[str, str] | None = None, **files: str) -> Loaded:
        for name, content in files.items():
            (tmp_path / name.replace("__", ".")).write_text(content)
        file = tmp_path / "gateway.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, environ or {})

    return read


def told(read: Read, text: str | bytes, environ: Mapping[str, str] | None = None, **files: str) -> list[str]:
    """The problems of a file, each as `file:line:column: key: text`, without the folder."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ, **files)
    folder = str(Path(caught.value.problems[0].place.file).parent)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "\ufeff", "{}", "null\n"])
def test_empty_file_is_an_error_with_its_remedy(read: Read, text: str) -> None:
    assert told(read, text) == [
        "gateway.yaml:1:1: the file is empty; remove it, and write an example in its place with noetl-edge init"
    ]


def test_settings_that_are_not_given_have_their_defaults(read: Read) -> None:
    gateway = read("server: {}\n").gateway
    assert (gateway.server.port, gateway.acl.default, gateway.sessions.store) == (8090, "deny", "file")


@pytest.mark.parametrize(
    "text",
    [
        "password: s3cr3t\n",
        "s3cr3t and more: x\n",
        "machine: a\nlogin: b\nlogin: s3cr3t\n",
        '{"type": "service_account", "private_key": "s3cr3t"}',
        "key: !s3cr3t x\n",
        "key: ${s3cr3t}\n",
        "a: *s3cr3t\n",
        "user:s3cr3t\n",
        "- s3cr3t\n",
        "s3cr3t\n",
        "server: {s3cr3t and more: x}\n",
        "server: {port: 1, ? s3cr3t and more : x, ? s3cr3t and more : y}\n",
        "acl: {s3cr3t+/YWJjZGVm: x}\n",
        f"server:\n  {'s3cr3t' * 5}: x\n",
        "include: [other.yaml]\n",
    ],
)
def test_lines_of_a_file_that_is_no_configuration_are_not_shown(read: Read, tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text("s3cr3t and more: x\nacl: {s3cr3t too: 1}\n")
    found = told(read, text)
    assert found
    assert "s3cr3t" not in "".join(found)


def test_file_without_a_known_block_is_reported_once(read: Read) -> None:
    assert told(read, "type: x\nprivate_key: y\n") == [
        "gateway.yaml:1:1: the file has no block of a gateway's configuration, such as server, upstreams, auth"
    ]


ONE_CAUSE: dict[str, tuple[str, str]] = {
    "limit of a route": (
        "rate_limits: {api: {limit: soon}}\nroutes: [{path: /health, handler: health, rate_limit: api}]\n",
        "rate_limits.api.limit",
    ),
    "limit without its key": (
        "rate_limits: {api: {key: ip}}\nroutes: [{path: /health, handler: health, rate_limit: api}]\n",
        "rate_limits.api.limit",
    ),
    "limits that are no mapping": (
        "rate_limits: 5\nroutes: [{path: /health, handler: health, rate_limit: api}]\n",
        "rate_limits",
    ),
    "upstream of a route": (
        "upstreams: {a: {urls: 5}}\nroutes: [{path: /a, upstream: a}]\n",
        "upstreams.a.urls",
    ),
    "upstreams that are no mapping": (
        "upstreams: []\nroutes: [{path: /a, upstream: a}, {path: /graphql, handler: graphql}]\n",
        "upstreams",
    ),
    "default tenant": (
        "auth: {default_tenant: a.test, tenants: [{domain: b.test, audience: [x]}, {domain: a.test, audience: 5}]}\n",
        "auth.tenants[1].audience",
    ),
    "store with workers": ("sessions: {store: fil}\nserver: {workers: 2}\n", "sessions.store"),
    "balance with hash_on": (
        "upstreams: {noetl: {urls: ['http://a.test'], balance: hash, hash_on: session}}\n",
        "upstreams.noetl.balance",
    ),
    "url with tls": ("upstreams: {noetl: {urls: [5], tls: {server_name: a.test}}}\n", "upstreams.noetl.urls[0]"),
    "apq with its size": ("graphql: {apq: 5, apq_size: 1MiB}\n", "graphql.apq"),
    "credentials with *": ("cors: {allowed_origins: ['*'], allow_credentials: 0.5}\n", "cors.allow_credentials"),
    "paths with methods": (
        "acl: {rules: [{allow: [view], paths: 5, methods: [GET]}]}\n",
        "acl.rules[0].paths",
    ),
}


@pytest.mark.parametrize(("text", "key"), ONE_CAUSE.values(), ids=ONE_CAUSE)
def test_mistake_is_reported_without_what_follows_from_it(read: Read, text: str, key: str) -> None:
    assert [line.split(" ")[1] for line in told(read, text)] == [f"{key}:"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server:\n  prot: 1\n", '2:3: server.prot: unknown key (did you mean "port"?)'),
        ("server:\n  zzzzzz: 1\n", "2:3: server.zzzzzz: unknown key"),
        ("servers: {}\n", '1:1: servers: unknown key (did you mean "server"?)'),
        ("server: {port: abc}\n", "1:16: server.port: must be a whole number"),
        ("server: {port: 1.5}\n", "1:16: server.port: must be a whole number"),
        ("server: {port: '80'}\n", "1:16: server.port: must be a whole number, without quotes"),
        ("server: {port: 0x50}\n", "1:16: server.port: must be a whole number"),
        ("server: {port: yes}\n", "1:16: server.port: must be a whole number"),
        ("server: {port: 65536}\n", "1:16: server.port: must be at most 65535"),
        ("server: {port: -1}\n", "1:16: server.port: must be at least 0"),
        ("server:\n  host: 5\n", '2:9: server.host: must be a text; put quotes around it: "5"'),
        ("server:\n", "1:8: server: must be a mapping, such as key: value"),
        ("server: [1]\n", "1:9: server: must be a mapping, such as key: value"),
        ("server: {trusted_proxies: 10.0.0.0/8}\n", "1:27: server.trusted_proxies: must be a list, such as [a, b]"),
        (
            "server: {trusted_proxies: [10.0.0.0/8, nonsense]}\n",
            '1:40: server.trusted_proxies[1]: "nonsense" is not a network: write it as 10.0.0.0/8 or ::1/128',
        ),
        (
            "server:\n  limits:\n    body_timeout: 30\n",
            "3:19: server.limits.body_timeout: must be a number with a unit, such as 10s or 5m",
        ),
        (
            "server:\n  limits:\n    max_body_size: 10MB\n",
            '3:20: server.limits.max_body_size: "10MB" is not a size: write a whole number and a unit,'
            " such as 512B, 16KiB, 10MiB or 1GiB",
        ),
        ("graphql: {graphiql: yes}\n", "1:21: graphql.graphiql: must be true or false"),
        (
            "logging: {level: warn}\n",
            '1:18: logging.level: "warn" is not one of debug, info, warning, error (did you mean "warning"?)',
        ),
        ("upstreams: {noetl: {}}\n", "1:13: upstreams.noetl.urls: is required"),
        ("upstreams: {noetl: {urls: []}}\n", "1:27: upstreams.noetl.urls: needs at least one entry"),
        ("sessions: {default_hours: 0}\n", "1:27: sessions.default_hours: must be more than 0"),
        ("sessions: {max_hours: 1.0e+400}\n", "1:23: sessions.max_hours: Input should be a finite number"),
        ("routes: [{handler: health}]\n", "1:10: routes[0].path: is required"),
        (
            "routes:\n  - {path: /a, handler: healthy}\n",
            '2:25: routes[0].handler: no handler is called "healthy" (did you mean "health"?)',
        ),
        (
            "acl:\n  rules:\n    - {allow: [run], playbooks: [a]}\n",
            '3:16: acl.rules[0].allow[0]: "run" is not one of execute, view, modify, edit, delete, admin, *',
        ),
        (
            "acl:\n  rules:\n    - {allow: [view], playbooks: [a**]}\n",
            '3:35: acl.rules[0].playbooks[0]: "**" must be a whole segment, as in "a/**"',
        ),
    ],
)
def test_mistake_is_reported_with_line_column_and_key(read: Read, text: str, problem: str) -> None:
    assert told(read, text) == [f"gateway.yaml:{problem}"]


def test_all_mistakes_are_reported_in_the_order_of_the_file(read: Read) -> None:
    text = (
        "logging: {level: loud}\n"
        "server:\n"
        "  prot: 1\n"
        "  host: ${NOWHERE}\n"
        "  port: -1\n"
        "acl:\n"
        "  rules:\n"
        "    - {allow: [view], deny: [view], playbooks: [a]}\n"
        "    - {allow: [view], playbook: [a]}\n"
        "routes:\n"
        "  - {path: a, handler: health}\n"
        "  - {path: /b, upstream: noetl}\n"
    )
    assert [":".join(line.split(":")[1:4]) for line in told(read, text)] == [
        "1:18: logging.level",
        "3:3: server.prot",
        "4:9: server.host",
        "5:9: server.port",
        "8:7: acl.rules[0]",
        "9:23: acl.rules[1].playbook",
        "11:12: routes[0].path",
        "12:26: routes[1].upstream",
    ]


def test_missing_file_is_reported_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: can't be read: No such file or directory; give the file with"
    ):
        load(tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server:\n\tport: 1\n", "2:1: not valid YAML: a line begins with a tab; indent with spaces"),
        ("server: {port: 1\n", "1:9: not valid YAML: the bracket or brace that begins here has no end"),
        ("a: 1\n b: 2\n", "2:3: not valid YAML: the indentation does not fit the lines above it"),
        (
            "server: *nowhere\n",
            "1:9: not valid YAML: found undefined alias; put quotes around a text that starts with *",
        ),
        ("server: {}\n---\nserver: {}\n", "2:1: not valid YAML: a second document begins here; a file has one"),
        (b"server: {host: \xff}\n", "1:16: not UTF-8: byte 0xff; save the file as UTF-8"),
        ("server: {host: a}\n".encode("utf-16"), "1:1: not UTF-8: byte 0xff; save the file as UTF-8"),
        (b"server: {host: '\x00'}\n", "1:17: not valid YAML: the character #x0000 is not allowed; remove it"),
        ("server: " + "[" * 5000 + "]" * 5000, "1:1: not valid YAML: "),
        ("- server\n", "1:1: the file must be a mapping of blocks"),
        ("server\n", "1:1: the file must be a mapping of blocks"),
        ("5\n", "1:1: the file must be a mapping of blocks"),
        ("? [a]\n: 1\n", "1:3: a key must be a text"),
        (
            "server: !here {port: 1}\n",
            "1:9: server: a tag is not supported; put quotes around a text that starts with !",
        ),
        (
            "cors: {allowed_origins: !!set {a}}\n",
            "1:25: cors.allowed_origins: the tag tag:yaml.org,2002:set is not supported",
        ),
        (
            "server: {host: !secret x}\n",
            "1:16: server.host: a tag is not supported; put quotes around a text that starts with !",
        ),
        ("server: {host: !!python/name:os.system x}\n", "1:16: server.host: the tag tag:yaml.org,2002:python/name:os"),
        ("server: {host: !!binary aGk=}\n", "1:16: server.host: the tag tag:yaml.org,2002:binary is not supported"),
    ],
)
def test_what_is_not_plain_yaml_is_refused(read: Read, text: str | bytes, problem: str) -> None:
    assert told(read, text)[0].startswith(f"gateway.yaml:{problem}")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("server: {}\nlogging: {}\nserver: {}\n", "3:1: server"),
        ("server: {port: 1, host: a, port: 2}\n", "1:28: server.port"),
        ("server: {port: 1, 'port': 2}\n", "1:19: server.port"),
    ],
)
def test_a_key_that_is_there_twice_is_refused(read: Read, text: str, place: str) -> None:
    assert told(read, text) == [f"gateway.yaml:{place}: the key is a duplicate; remove one of them"]


def test_an_alias_repeats_what_its_anchor_names(read: Read) -> None:
    gateway = read("cors: {allowed_headers: &both [a, b], exposed_headers: *both}\n").gateway
    assert (gateway.cors.allowed_headers, gateway.cors.exposed_headers) == (("a", "b"), ("a", "b"))


def test_a_merge_adds_the_keys_that_are_not_given(read: Read) -> None:
    text = UPSTREAM + (
        "routes:\n"
        "  - &first {path: /a, upstream: noetl, timeout: 5s}\n"
        "  - {<<: *first, path: /b}\n"
    )  # fmt: skip
    routes = read(text).gateway.routes
    assert routes is not None
    assert [(route.path, route.timeout) for route in routes[:2]] == [("/a", 5.0), ("/b", 5.0)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server: &a {<<: *a, port: 1}\n", "server: << can't merge a mapping that contains a << itself"),
        ("server: &a {port: 1}\ncors: {<<: [*a]}\n", "cors: << needs one mapping, given as *alias"),
        ("server: {<<: 5}\n", "server: << needs one mapping, given as *alias"),
        ("server: &a {? [x] : 1}\ncors: {<<: *a}\n", "server: a key must be a text"),
        (
            "server: &a {port: 1}\ncors: &b {<<: *a}\nlogging: {<<: *b}\n",
            "logging: << can't merge a mapping that contains a <<",
        ),
    ],
)
def test_a_merge_that_is_not_plain_is_refused(read: Read, text: str, problem: str) -> None:
    assert any(problem in line for line in told(read, text))


@pytest.mark.parametrize("text", ["server: &a [*a]\n", "server: &a {b: *a}\n", "server: &a {b: [{c: *a}]}\n"])
def test_an_alias_to_what_it_stands_in_is_refused(read: Read, text: str) -> None:
    assert any("an alias refers to a value that contains it" in line for line in told(read, text))


@pytest.mark.parametrize("wrap", ["[{}]", "{{a: {0}, b: {0}, c: {0}, d: {0}, e: {0}, f: {0}, g: {0}, h: {0}}}"])
def test_aliases_that_multiply_are_cut_short(read: Read, wrap: str) -> None:
    lines = ["server: {}", "a0: &a0 [x, x, x, x, x, x, x, x]"]
    for level in range(1, 12):
        inner = f"*a{level - 1} "
        lines.append(f"a{level}: &a{level} " + wrap.format(", ".join([inner] * 8) if wrap == "[{}]" else inner))
    started = time.process_time()
    assert any("the file expands to too many values" in line for line in told(read, "\n".join(lines)))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("text", "environ", "host"),
    [
        ("${NAME}", {"NAME": "a.test"}, "a.test"),
        ("${NAME}", {"NAME": ""}, ""),
        ("x-${NAME}-${OTHER}", {"NAME": "1", "OTHER": "2"}, "x-1-2"),
        ("${NAME:-b.test}", {}, "b.test"),
        ("${NAME:-b.test}", {"NAME": ""}, "b.test"),
        ("${NAME:-b.test}", {"NAME": "a.test"}, "a.test"),
        ("${NAME:-}", {}, ""),
        ("${NAME:-a:-b}", {}, "a:-b"),
        ("$${NAME}", {"NAME": "a.test"}, "${NAME}"),
        ("$$${NAME}", {"NAME": "a.test"}, "$${NAME}"),
        ("$NAME", {"NAME": "a.test"}, "$NAME"),
        ("${NAME}", {"NAME": "${OTHER}", "OTHER": "x"}, "${OTHER}"),
        ("${NAME}", {"NAME": "a: [b, {c: d}] # e"}, "a: [b, {c: d}] # e"),
    ],
)
def test_references_are_replaced_in_a_text(read: Read, text: str, environ: Mapping[str, str], host: str) -> None:
    assert read(f"server: {{host: '{text}'}}\n", environ).gateway.server.host == host


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("${NAME}", "environment variable NAME is not set; set it, or write ${NAME:-default}"),
        ("${NA ME}", "a reference must be ${NAME}, ${NAME:-default} or ${file:PATH}"),
        ("${}", "a reference must be ${NAME}, ${NAME:-default} or ${file:PATH}"),
        ("${1A}", "a reference must be ${NAME}, ${NAME:-default} or ${file:PATH}"),
        ("${NAME", 'a reference has no closing brace (for a literal "${" write "$${")'),
        ("${NAME:-${OTHER}}", "the default of NAME can't be a reference itself"),
        ("${file:}", "can't be read: Is a directory"),
        ("${file:nowhere}", "nowhere can't be read: No such file or directory"),
    ],
)
def test_unresolved_reference_is_reported_at_its_place(read: Read, text: str, problem: str) -> None:
    (line,) = told(read, f"server:\n  host: '{text}'\n", {"OTHER": "x"})
    assert line.startswith("gateway.yaml:2:9: server.host: ")
    assert line.endswith(problem)


@pytest.mark.parametrize(
    ("content", "token"),
    [("s3cret", "s3cret"), ("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("a\n\n", "a\n"), ("", "")],
)
def test_a_file_reference_is_the_files_text_without_its_last_newline(read: Read, content: str, token: str) -> None:
    assert (
        read("server: {host: '${file:secret__txt}'}\n".replace("__", "."), secret__txt=content).gateway.server.host
        == token
    )


def test_a_relative_file_reference_is_looked_for_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "name").write_text("beside")
    (tmp_path / "name").write_text("elsewhere")
    (tmp_path / "conf" / "gateway.yaml").write_text("server: {host: '${file:name}'}\n")
    monkeypatch.chdir(tmp_path)
    assert load(Path("conf/gateway.yaml"), {}).gateway.server.host == "beside"


def test_a_file_reference_to_what_is_not_text_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    assert told(read, "server: {host: '${file:binary}'}\n")[0].endswith("binary is not UTF-8 text")


def test_a_file_reference_to_a_huge_file_is_refused(read: Read, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1024**2 + 1)
    assert told(read, "server: {host: '${file:huge}'}\n")[0].endswith("huge is larger than 1 MiB")


@pytest.mark.parametrize(
    ("reference", "environ", "source"),
    [
        ("${PORT}", {"PORT": "many"}, " (from environment variable PORT)"),
        ("${PORT:-1}", {"PORT": "many"}, " (from environment variable PORT)"),
        ("${A}${B}${A}", {"A": "ma", "B": "ny"}, " (from environment variable A, environment variable B)"),
        ("${PORT:-many}", {}, ""),
    ],
)
def test_problem_of_value_from_the_environment_names_the_variable(
    read: Read, reference: str, environ: Mapping[str, str], source: str
) -> None:
    (line,) = told(read, f"server:\n  port: {reference}\n", environ)
    assert line.startswith("gateway.yaml:2:9: server.port: ")
    assert line.endswith(f" is not a whole number{source}")


def test_problem_of_value_from_a_file_names_the_file(read: Read, tmp_path: Path) -> None:
    (line,) = told(read, "server:\n  port: ${file:port.txt}\n", port__txt="many")
    assert line == 'gateway.yaml:2:9: server.port: "[hidden]" is not a whole number (from file port.txt)'


def test_problem_in_included_file_names_the_variable(read: Read) -> None:
    text = "acl: {rules: [{allow: [view], playbooks: [a]}]}\ninclude: [more.yaml]\n"
    lines = told(read, text, {"V": "a**"}, more__yaml="acl: {rules: [{allow: [view], playbooks: ['${V}']}]}\n")
    assert [line.rpartition('"')[2] for line in lines] == [" (from environment variable V)"]


def test_override_of_a_list_is_named_although_the_file_has_a_list_too(read: Read) -> None:
    text = "upstreams:\n  noetl:\n    urls: ['${URL:-http://localhost:8082}']\n"
    (line,) = told(read, text, {"NOETL_BASE_URL": "nowhere"})
    assert line.startswith("environment variable NOETL_BASE_URL: upstreams.noetl.urls[0]: has no scheme")


@pytest.mark.parametrize(
    "text", ["server: {host: '${a\n\n b}'}\n", '"a\\nb\\e[31m": 1\n', 'server: {port: "\\u2028"}\n']
)
def test_a_problem_is_one_line_whatever_it_quotes(read: Read, text: str) -> None:
    assert [line for line in told(read, text) if not line.isprintable()] == []


@pytest.mark.parametrize("value", ["hunter2-hunter2", "abc"])
@pytest.mark.parametrize("reference", ["${DB_PASSWORD}", "${API_KEY:-x}", "${file:secret}"])
@pytest.mark.parametrize(
    "line",
    [
        "server: {port: '%s'}",
        "acl: {rules: [{allow: ['%s'], paths: ['/a']}]}",
        "routes: [{path: '/a', upstream: '%s'}]",
    ],
)
def test_what_a_secret_holds_is_shown_in_no_problem(read: Read, line: str, reference: str, value: str) -> None:
    lines = told(read, line % reference + "\n", {"DB_PASSWORD": value, "API_KEY": value}, secret=value)
    assert f'"{value}"' not in "".join(lines)
    assert "[hidden]" in "".join(lines)


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("server: {port: '${V}'}", "80", {"server": {"port": 80}}),
        ("graphql: {graphiql: '${V}'}", "off", {"graphql": {"graphiql": False}}),
        ("graphql: {graphiql: '${V}'}", "TRUE", {"graphql": {"graphiql": True}}),
        ("sessions: {max_hours: '${V}'}", "0.5", {"sessions": {"max_hours": 0.5}}),
        ("server: {shutdown_grace: '${V}'}", "5s", {"server": {"shutdown_grace": 5.0}}),
    ],
)
def test_a_reference_is_read_as_its_keys_type(read: Read, line: str, value: str, expected: object) -> None:
    dumped = read(f"{line}\n", {"V": value}).gateway.model_dump(exclude_unset=True)
    assert {name: block for name, block in dumped.items() if name not in ("routes", "rate_limits")} == expected


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", ""])
def test_a_number_from_the_environment_must_be_finite(read: Read, value: str) -> None:
    assert told(read, "sessions: {max_hours: '${V}'}\n", {"V": value})[0].startswith(
        "gateway.yaml:1:23: sessions.max_hours: "
    )


def test_booleans_are_true_and_false_only_so_that_off_stays_a_word(read: Read) -> None:
    assert read("graphql: {get: off}\n").gateway.graphql.get == "off"


def test_an_included_file_adds_its_routes_and_rules(read: Read) -> None:
    loaded = read(
        UPSTREAM + "include: ['*__part.yaml']\n".replace("__", ".")
        + "routes: [{path: /a, handler: health}]\nacl: {rules: [{allow: [view], playbooks: [a]}]}\n",
        b__part__yaml="routes: [{path: /c, handler: health}]\n",
        a__part__yaml="routes: [{path: /b, handler: ready}]\nacl: {rules: [{deny: [view], playbooks: [b]}]}\n",
    )  # fmt: skip
    assert [route.path for route in loaded.gateway.routes or ()][:3] == ["/a", "/b", "/c"]
    assert [rule.playbooks for rule in loaded.gateway.acl.rules] == [("a",), ("b",)]


def test_an_included_rule_keeps_its_own_file_and_line(read: Read) -> None:
    loaded = read("include: [more.yaml]\n", more__yaml="acl:\n  rules:\n    - {deny: [view], playbooks: [b]}\n")
    place = loaded.document.place(("acl", "rules", 0))
    assert (Path(place.file).name, place.line, place.column) == ("more.yaml", 3, 7)


def test_routes_of_an_included_file_come_before_the_built_in_ones(read: Read) -> None:
    loaded = read("include: [more.yaml]\n", more__yaml="routes: [{path: /mine, handler: health}]\n")
    paths = [route.path for route in loaded.gateway.routes or ()]
    assert paths[:2] == ["/mine", "/health"]


def test_mistake_in_included_file_is_reported_with_that_file(read: Read) -> None:
    text = "acl: {rules: [{allow: [view], playbooks: [a]}]}\ninclude: [more.yaml]\n"
    lines = told(read, text, more__yaml="acl:\n  rules:\n    - {alow: [view], playbooks: [b]}\n")
    assert lines == ['more.yaml:3:8: acl.rules[0].alow: unknown key (did you mean "allow"?)']


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ("server: {}\n", "more.yaml:1:1: server: an included file may contain routes and acl.rules only"),
        (
            "route: []\n",
            'more.yaml:1:1: route: an included file may contain routes and acl.rules only (did you mean "routes"?)',
        ),
        (
            "acl: {default: allow}\n",
            "more.yaml:1:7: acl.default: an included file may contain routes and acl.rules only",
        ),
        ("acl: {roles: {}}\n", "more.yaml:1:7: acl.roles: an included file may contain routes and acl.rules only"),
        ("- a\n", "more.yaml:1:1: an included file may contain routes and acl.rules only"),
        ("routes: 5\n", "more.yaml:1:9: routes: must be a list"),
        ("acl: {rules: {}}\n", "more.yaml:1:14: acl.rules: must be a list"),
        ("routes: [\n", "more.yaml:2:1: not valid YAML"),
        ("include: [other.yaml]\n", "more.yaml:1:1: include: an included file may contain routes and acl.rules only"),
    ],
)
def test_an_included_file_holds_nothing_else(read: Read, part: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in told(read, "include: [more.yaml]\n", more__yaml=part))


@pytest.mark.parametrize("pattern", ["nowhere.yaml", "*.yml", "", "/etc/*.yaml", "folder"])
def test_an_include_that_matches_no_file_is_a_mistake(read: Read, tmp_path: Path, pattern: str) -> None:
    (tmp_path / "folder").mkdir()
    (line,) = told(read, f"include: ['{pattern}']\n")
    remedy = "; write a pattern relative to the folder of this file" if pattern in ("", "/etc/*.yaml") else ""
    assert line == f'gateway.yaml:1:11: include[0]: no file matches "{pattern}"{remedy}'


@pytest.mark.parametrize(
    ("acl", "problem"),
    [
        ("acl:", "gateway.yaml:1:5: acl: must be a mapping, such as key: value"),
        ("acl: 5", "gateway.yaml:1:6: acl: must be a mapping, such as key: value"),
        ("acl: {rules: }", "gateway.yaml:1:13: acl.rules: must be a list, such as [a, b]"),
    ],
)
def test_included_rules_do_not_hide_that_the_file_itself_is_wrong(read: Read, acl: str, problem: str) -> None:
    more = "acl: {rules: [{allow: [view], playbooks: [a]}]}\n"
    assert told(read, f"{acl}\ninclude: [more.yaml]\n", more__yaml=more) == [problem]


@pytest.mark.parametrize(
    ("name", "value", "path", "expected"),
    [
        ("ROUTER_PORT", "81", "server.port", 81),
        ("GATEWAY_PORT", "82", "server.port", 82),
        ("GATEWAY_BIND", "::1", "server.host", "::1"),
        ("GATEWAY_PUBLIC_URL", "https://g.test", "server.public_url", "https://g.test"),
        ("NOETL_BASE_URL", "http://noetl.test:1", "upstreams.noetl.urls", ("http://noetl.test:1",)),
        ("NOETL_TIMEOUT_SECS", "7", "upstreams.noetl.response_timeout", 7.0),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://a.test, https://b.test,",
            "cors.allowed_origins",
            ("https://a.test", "https://b.test"),
        ),
        ("CORS_ALLOW_CREDENTIALS", "false", "cors.allow_credentials", False),
        ("GATEWAY_AUTH0_DOMAIN", "t.test", "auth.application.domain", "t.test"),
        ("GATEWAY_AUTH0_CLIENT_ID", "c", "auth.application.client_id", "c"),
        ("GATEWAY_AUTH0_REDIRECT_URI", "https://r.test/", "auth.application.redirect_uri", "https://r.test/"),
        ("GATEWAY_AUTH0_AUDIENCE", "aud", "auth.application.audience", "aud"),
        ("LOG_FORMAT", "JSON", "logging.format", "json"),
        ("LOG_LEVEL", "WARNING", "logging.level", "warning"),
    ],
)
def test_a_variable_of_the_environment_overrides_the_file(
    read: Read, name: str, value: str, path: str, expected: object
) -> None:
    text = UPSTREAM + "server: {port: 80, host: 127.0.0.1}\nlogging: {format: console, level: debug}\ncors: {}\n"
    loaded = read(text, {name: value})
    found: object = loaded.gateway
    for part in path.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert (found, loaded.overrides) == (expected, (name,))


def test_an_empty_variable_overrides_nothing(read: Read) -> None:
    loaded = read("server: {port: 80}\n", {"GATEWAY_PORT": "", "LOG_LEVEL": ""})
    assert (loaded.gateway.server.port, loaded.overrides) == (80, ())


def test_the_origins_of_the_environment_take_the_place_of_the_short_form_too(read: Read) -> None:
    loaded = read("corsAllowedOrigins: ['https://a.test']\n", {"CORS_ALLOWED_ORIGINS": "https://b.test"})
    assert (loaded.gateway.corsAllowedOrigins, loaded.gateway.cors.allowed_origins) == (None, ("https://b.test",))


def test_an_upstream_from_the_environment_alone_gets_the_relayed_routes(read: Read) -> None:
    routes = read("server: {}", {"NOETL_BASE_URL": "http://noetl.test"}).gateway.routes or ()
    assert "/noetl/{path:**}" in [route.path for route in routes]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("GATEWAY_PORT", "many", 'server.port: "many" is not a whole number'),
        (
            "NOETL_TIMEOUT_SECS",
            "soon",
            'upstreams.noetl.response_timeout: "soon" is not a number of seconds, such as 20',
        ),
        ("LOG_LEVEL", "loud", 'logging.level: "loud" is not one of debug, info, warning, error'),
        ("CORS_ALLOWED_ORIGINS", "a.test", "cors.allowed_origins[0]: an origin is scheme://host"),
    ],
)
def test_invalid_environment_variable_is_reported_with_its_name(
    read: Read, name: str, value: str, problem: str
) -> None:
    assert any(
        line.startswith(f"environment variable {name}: {problem}") for line in told(read, UPSTREAM, {name: value})
    )


def test_variables_name_the_auth_playbooks(read: Read) -> None:
    names = ("LOGIN", "VALIDATE_SESSION", "CHECK_ACCESS")
    environment = {f"AUTH_PLAYBOOK_{name}": f"mine/{name.lower()}" for name in names}
    block = read("server: {}", {**environment, "AUTH_PLAYBOOK_TIMEOUT_SECS": "5"}).gateway.auth.playbooks
    found = (block.login, block.validate_session, block.check_access, block.timeout)
    assert found == ("mine/login", "mine/validate_session", "mine/check_access", 5.0)


LIMITED = """
auth: {tenants: [{domain: "localhost:8085", audience: [tests]}]}
rate_limits:
  login: {limit: 60/minute, burst: 30}
  api: {limit: 100/second, key: session}
"""


def test_profile_load_raises_limits_by_address_and_nothing_else(read: Read) -> None:
    plain = read(UPSTREAM + LIMITED)
    loaded = read(UPSTREAM + LIMITED, {"NOETL_EDGE_PROFILE": "load"})
    assert loaded.gateway.rate_limits["login"].limit == "1000000/second"
    assert loaded.gateway.rate_limits["login"].burst == 1_000_000
    assert loaded.gateway.rate_limits["api"] == plain.gateway.rate_limits["api"]
    changed = {
        name
        for name in type(plain.gateway).model_fields
        if getattr(plain.gateway, name) != getattr(loaded.gateway, name)
    }
    assert changed == {"rate_limits"}
    assert "NOETL_EDGE_PROFILE" in loaded.overrides
    assert read(UPSTREAM, {"NOETL_EDGE_PROFILE": "load"}).gateway.rate_limits["login"].burst == 1_000_000


@pytest.mark.parametrize(
    ("text", "profile", "problem"),
    [
        (LIMITED, "fast", '"fast" is not a profile; there is "load"'),
        (
            LIMITED + "server: {host: 0.0.0.0}\n",
            "load",
            "server.host is 0.0.0.0, but the profile load is for load tests on",
        ),
        (
            LIMITED.replace("localhost:8085", "x.eu.auth0.com"),
            "load",
            "tenant x.eu.auth0.com is not a sandbox, but the",
        ),
        (
            LIMITED.replace("audience", "issuer: 'https://real.example/', audience"),
            "load",
            "tenant localhost:8085 is not a sandbox",
        ),
    ],
)
def test_profile_is_refused_where_it_would_be_a_hole(read: Read, text: str, profile: str, problem: str) -> None:
    found = told(read, UPSTREAM + text, {"NOETL_EDGE_PROFILE": profile})
    assert any(line.startswith("environment variable NOETL_EDGE_PROFILE") and problem in line for line in found), found
