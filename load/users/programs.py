"""Users without a browser: the command line, and a service that starts playbooks."""

from __future__ import annotations

import time

import gevent
from locust import task

from load.users.common import MEASURED, RESULT_SECONDS, EdgeUser


class CommandLine(EdgeUser):
    """A developer with the `noetl` command line: it sends both headers with the session, and uses `/noetl/*`."""

    @property
    def authorized(self) -> dict[str, str]:
        """Both headers, as the command line sends them."""
        return {"authorization": f"Bearer {self.token}", "x-session-token": self.token}

    @task(2)
    def list_catalog(self) -> None:
        """Send what `noetl catalog list` sends."""
        self.call("POST", "/noetl/catalog/list", "catalog list", json={"resource_type": "Playbook"})

    @task(2)
    def run_playbook(self) -> None:
        """Send what `noetl run` and then `noetl status` send."""
        body = {"path": "examples/hello_world", "workload": {"message": "load"}}
        started = time.time()
        answer = self.call("POST", "/noetl/execute", "execute", json=body)
        if answer.status_code != 200:
            return
        execution = answer.json()["execution_id"]
        while time.time() < started + RESULT_SECONDS:
            gevent.sleep(0.5)
            status = self.call("GET", f"/noetl/executions/{execution}/status", "status")
            if status.status_code == 200 and status.json().get("completed"):
                MEASURED.counters["results"] += 1
                self.note("result by polling", started)
                return
        MEASURED.counters["lost_results"] += 1
        self.note("result by polling", started, "timeout")

    @task(1)
    def sign_in_again(self) -> None:
        """Sign out and in, as `noetl auth login` does."""
        old = self.token
        answer = self.call("POST", "/api/auth/logout", "logout", json={"session_token": old})
        if answer.status_code != 200:
            return
        self.on_start()
        check = self.send(
            "GET", "/api/auth/me", "me after logout", expected=(401,), headers={"authorization": f"Bearer {old}"}
        )
        if check.status_code == 200:
            MEASURED.counters["ended_sessions_accepted"] += 1


class Service(EdgeUser):
    """A program that starts playbooks one after the other, and asks for their status once each."""

    def wait_time(self) -> float:
        """Return a short pause."""
        return self.random.uniform(0.05, 0.2)

    @task
    def start_playbook(self) -> None:
        """Start a playbook, and ask for its status."""
        answer = self.call("POST", "/noetl/execute", "execute", json={"path": "my_playbook", "workload": {"n": 1}})
        if answer.status_code == 200:
            self.call("GET", f"/noetl/executions/{answer.json()['execution_id']}/status", "status")
