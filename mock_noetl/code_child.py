"""The process that runs the code of one Python step: reads a job from its input, and writes what became of it.

It imports nothing of this package. The result is JSON after the last zero byte of the output.
"""

import inspect
import json
import sys
import traceback
from typing import Any


def _helpers() -> dict[str, Any]:
    """Return the modules and helpers that the worker of the Python server gives to a script."""
    import datetime
    import os
    import uuid

    return {
        "datetime": datetime.datetime,
        "json": json,
        "os": os,
        "uuid": uuid,
        "now_utc": lambda: datetime.datetime.now(datetime.UTC),
        "format_iso8601": lambda value: value.isoformat(),
        "get_val": lambda found, name, default=None: found.get(name, default) if isinstance(found, dict) else default,
        "deep_merge": lambda left, right: {**left, **right},
        "make_serializable": lambda value: json.loads(json.dumps(value, default=str)),
    }


def _arguments(function: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `main`, by their names. Raises ValueError for one that is missing."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name in known:
            found[name] = known[name]
        elif parameter.default is parameter.empty:
            raise ValueError(f"Missing required argument '{name}' for Python task. Provide it via args or context.")
    return found


def _python(job: dict[str, Any]) -> Any:
    """Run a script as the worker of the Python server does."""
    names = {**_helpers(), "context": job["names"], **job["given"]}
    before = set(names)
    exec(job["code"], names)  # noqa: S102 - that is the purpose of this process
    if "result" in names and "result" not in job["given"]:
        found = names["result"]
    elif callable(names.get("main")):
        found = names["main"](**_arguments(names["main"], {**job["names"], **job["given"]}))
    else:
        count = len([name for name in names if name not in before and not name.startswith("__")])
        message = "Code executed without explicit result variable"
        return {"status": "success", "message": message, "locals_count": count}
    return {"_value": None} if found is None else found


def _rust(job: dict[str, Any]) -> Any:
    """Run a script as the worker of the Rust server does."""
    names = {**job["names"], **job["given"], "input_data": job["given"]}
    exec(compile(job["code"], "step", "exec"), names)  # noqa: S102 - that is the purpose of this process
    return names.get("result")


def main() -> None:
    """Run the job of the input."""
    job = json.load(sys.stdin)
    found: dict[str, Any] = {"value": None, "error": None, "exit_code": 0}
    is_rust = job["style"] == "rust"
    try:
        value = (_rust if is_rust else _python)(job)
        found["value"] = json.loads(json.dumps(value, default=str if is_rust else None, allow_nan=False))
    except BaseException as error:  # also SystemExit
        found = {"value": None, "error": str(error) or type(error).__name__, "exit_code": 1}
        if isinstance(error, SystemExit):
            found["exit_code"] = error.code if isinstance(error.code, int) else 1
        if is_rust:
            traceback.print_exc()
    sys.stdout.write("\0" + json.dumps(found))
    sys.stdout.flush()


main()
