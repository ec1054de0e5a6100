"""Run a scenario: `make load SCENARIO=…`, or `python -m load.run --scenario …`.

Starts the stack (or uses a running one), lets Locust run the users, carries out the schedule of faults, and writes two
reports. The exit status is 0 if every threshold holds, 1 if one does not, 2 if the run was not possible, and 130 if
ctrl-C stopped it; what was measured until then is reported, too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from load import children, preflight
from load.checks import is_cut, is_late
from load.options import Options, read_options
from load.processes import Programs, StackError, free_port, prepare
from load.report import write_report
from load.results import Results
from load.sampler import Sampler
from load.schedule import Schedule, schedule
from load.settings import ROOT, Settings
from load.windows import Windows

STOP_SECONDS = 30.0
STOP_EARLY_SECONDS = 10.0
STOPPED = 130
PROGRESS_SECONDS = 10.0


def main() -> int:
    """Run a scenario."""
    options = read_options()
    children.end_by_signals()
    try:
        return run(options)
    except StackError as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("load: stopped", file=sys.stderr)
        return STOPPED


def run(options: Options) -> int:
    """Run a scenario, and return the exit status. Raises StackError."""
    options.folder.mkdir(parents=True, exist_ok=True)
    scenario = options.scenario
    if options.worker_of:
        return _work(options)
    _say(f"{scenario.name}: {scenario.description}")
    for fault in scenario.faults:
        if is_late(scenario, fault):
            _say(f"the fault {fault.name} is left out: it begins at {fault.at:g} s, after the end")
        elif is_cut(scenario, fault):
            _say(f"the fault {fault.name} is shortened: it ends with the run, at {scenario.duration:g} s")
    with ExitStack() as cleanup:
        programs = None
        if not options.url:
            programs = prepare(scenario.stack, scenario.users, options.folder)
            cleanup.callback(programs.stop)
            programs.start()
            preflight.check_calls(scenario, programs)
        settings = _settings(options, programs)
        if programs is None:
            _check(settings)
        sampler = _sampler(programs, settings)
        sampler.start()
        cleanup.callback(sampler.stop)
        plan = schedule(scenario, programs) if programs else Schedule([])
        cleanup.callback(plan.stop)
        began, stopped = _locust(options, settings, plan)
        plan.stop()
        sampler.stop()
        for problem in sampler.problems:
            _say(f"not sampled at times: {problem}")
        measured = json.loads(Path(settings.output).read_text("utf-8"))
        windows = Windows()
        windows.merge(measured)
        users = [(at, count) for at, count in measured["users"]]
        results = Results(scenario, began, windows, sampler.samples, users, plan.faults, plan.failures, stopped)
        return _conclude(results, options.folder)


def _check(settings: Settings) -> None:
    """Check a stack that runs already. Raises StackError."""
    for note in preflight.check(settings):
        _say(note)


def _settings(options: Options, programs: Programs | None) -> Settings:
    scenario = options.scenario
    gateways = tuple(gateway.url for gateway in programs.gateways) if programs else (options.url.rstrip("/"),)
    auth0 = programs.auth0.url if programs else options.auth0.rstrip("/")
    output = str(options.folder / "measured.json")
    known = max(scenario.users, 1000)
    return Settings(options.file, scenario.users, scenario.duration, gateways, auth0, known_users=known, output=output)


def _sampler(programs: Programs | None, settings: Settings) -> Sampler:
    if programs is None:
        return Sampler({}, settings.gateways, {})
    admins = {"auth0": programs.auth0.url, "noetl": programs.noetl.url}
    return Sampler({program.name: program for program in programs.all}, settings.gateways, admins)


def _locust(options: Options, settings: Settings, plan: Schedule) -> tuple[float, float | None]:
    """Run Locust until its end, with the schedule beside it.

    Returns:
        When the first users started, and after how many seconds ctrl-C stopped them; None: it did not.
    """
    port = free_port()
    environment = {**os.environ, **settings.environment(), "PYTHONPATH": str(ROOT)}
    began, stopped = 0.0, None
    output = Path(settings.output)
    mark = output.with_suffix(".started")
    for left in (output, mark):  # by a run before in the same folder
        left.unlink(missing_ok=True)
    with (options.folder / "locust.log").open("wb") as log:
        process = children.start(_command(options, port), environment, log)
        if options.web:
            _say(f"live charts: http://127.0.0.1:{port}/")
        if options.master:
            how = f"start each with the same options and --worker-of {options.master}"
            _say(f"waiting for {options.expect} workers: {how}")
        try:
            began = _begin(process, mark)
            plan.start(_say)
            _wait(process, options.scenario.duration)
        except KeyboardInterrupt:
            if not began:
                raise
            stopped = time.time() - began
            _stop_early(process)
        finally:
            _end(process)
    if not output.exists():
        if stopped is not None:
            raise KeyboardInterrupt
        raise StackError(f"Locust ended with exit code {process.returncode}: see {options.folder / 'locust.log'}")
    return began, stopped


def _command(options: Options, port: int) -> list[str]:
    """Return the command of Locust, which serves its page at a port."""
    locust = (sys.executable, "-m", "locust", "-f", "load/locustfile.py", "--loglevel", "WARNING")
    command = [*locust, "--html", str(options.folder / "locust.html"), "--only-summary"]
    if options.web:
        command += ["--autostart", "--autoquit", "1", "--web-host", "127.0.0.1", "--web-port", str(port)]
    else:
        command += ["--headless"]
    if options.master:
        command += ["--master", "--expect-workers", str(options.expect), "--master-bind-host", options.master]
    elif options.workers:
        master_port = str(free_port())
        bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", master_port, "--master-port", master_port]
        command += ["--processes", str(options.workers), *bind]
    return command


def _stop_early(process: subprocess.Popen[bytes]) -> None:
    """Let Locust stop its users, and write what they measured."""
    _say("stopping, and writing the reports; ctrl-C again ends at once")
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_EARLY_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _begin(process: subprocess.Popen[bytes], mark: Path) -> float:
    """Wait until the first users start; return the time. With workers on other machines that may take long."""
    while process.poll() is None and not mark.exists():
        time.sleep(0.05)
    return time.time()


def _work(options: Options) -> int:
    """Be a worker of a master on another machine, until it ends."""
    settings = _settings(options, None)
    _check(settings)
    command = [
        sys.executable,
        "-m",
        "locust",
        "-f",
        "load/locustfile.py",
        "--worker",
        "--master-host",
        options.worker_of,
    ]
    environment = {**os.environ, **settings.environment(), "PYTHONPATH": str(ROOT)}
    _say(f"working for the master at {options.worker_of}")
    return subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def _wait(process: subprocess.Popen[bytes], duration: float) -> None:
    begun = time.monotonic()
    limit = duration + 120
    while process.poll() is None and time.monotonic() - begun < limit:
        try:
            process.wait(PROGRESS_SECONDS)
        except subprocess.TimeoutExpired:
            _say(f"{time.monotonic() - begun:.0f} of {duration:.0f} s")


def _conclude(results: Results, folder: Path) -> int:
    page = write_report(results, folder)
    verdicts = results.verdicts()
    for verdict in verdicts:
        value = "nothing was measured" if verdict.value is None else f"{verdict.value:.4g}"
        print(f"{'ok  ' if verdict.holds else 'FAIL'}  {verdict.threshold.text}: {value}")
    for failure in results.failures:
        print(f"FAIL  schedule: {failure}")
    for name, count in sorted(results.windows.counters.items()):
        print(f"      {name}: {count}")
    print(f"report: {page}\nLocust's: {folder / 'locust.html'}")
    if results.stopped is not None:
        print(f"stopped early, after {results.stopped:.0f} of {results.scenario.duration:.0f} s")
        return STOPPED
    return 0 if results.passed else 1


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
