#!/usr/bin/env python3
"""A worker in plain Python: a second implementation of docs/worker-protocol.md, to show that it says enough.

    GRISTMILL_WORKER_TOKEN=gmw_... worker.py http://127.0.0.1:8020 FOLDER [BUILDS]

It runs one build at a time, its `run` steps by `sh -c` in FOLDER/<builder>, and `checkout` by the git that is installed.
It ends after so many builds if told how many. Logs go up as they are (`Content-Encoding: identity`): the standard
library has no zstd, and the service compresses.
"""

import json
import os
import random
import secrets
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PIECE_BYTES_MAX = 64 * 1024
ANSWER_TIME_MAX = 45


class Fenced(Exception):
    """The lease is over: nothing more is to be done or said about it."""


class Again(Exception):
    """The service wants another hello."""


class Refused(Exception):
    """The service will not have this worker, or this request, whatever is repeated."""


class Service:
    """The service, as a worker sees it. Every request is repeated until it is answered."""

    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token
        self.run = secrets.token_hex(8)
        self.session, self.worker = None, None
        self.heartbeat, self.heard, self.ack = 10, time.monotonic(), 0

    def post(self, path, body, credential, encoding=None):
        """Sends one request, once. Gives the status and the answer's JSON."""
        headers = {"Authorization": "Bearer " + credential}
        if encoding:
            headers["Content-Encoding"] = encoding
        else:
            headers["Content-Type"], body = "application/json", json.dumps(body).encode()
        request = urllib.request.Request(self.url + "/worker/v1/" + path, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIME_MAX) as answer:
                return answer.status, json.loads(answer.read() or b"null"), 0
        except urllib.error.HTTPError as answer:
            text = answer.read()
            try:
                said = json.loads(text)
            except ValueError:
                said = {"error": "foreign", "message": text[:200].decode(errors="replace")}
            return answer.code, said, int(answer.headers.get("Retry-After", 1))

    def ask(self, path, body, encoding=None):
        """Sends a request until it is taken. What is final is raised."""
        wait = 0.1
        while True:
            sent = time.monotonic()
            try:
                status, said, after = self.post(path, body, self.session, encoding)
            except OSError:
                status, said, after = 503, {"error": "unreachable"}, 0
            if status < 300 or status in (409, 410):
                # Whoever answers knows that we are there: from when the question was sent.
                self.heard = sent
            if status < 300:
                return said
            error = said.get("error")
            if status == 410:
                raise Fenced(said["fenced"])
            if error == "hello":
                raise Again()
            if error == "offset":
                return said
            if status < 500 and status not in (408, 429):
                raise Refused(f"{error}: {said.get('message')}")
            time.sleep(max(after, wait) * random.uniform(0.5, 1))
            wait = min(wait * 2, 10)

    def hello(self, builds):
        """Says hello until it is welcome. Gives the leases that are over."""
        hello = {
            "labels": {"os": sys.platform, "python": "%d.%d" % sys.version_info[:2]},
            "slots": 1,
            "builds": builds,
            "about": {"version": "python", "host": os.uname().nodename},
        }
        body = {"versions": {"oldest": 1, "newest": 1}, "run": self.run, "hello": hello}
        wait = 0.1
        while True:
            sent = time.monotonic()
            try:
                status, said, after = self.post("hello", body, self.token)
            except OSError:
                status, said, after = 503, {}, 0
            if status == 200:
                self.session, self.worker, self.ack, self.heard = said["session"], said["worker"], 0, sent
                self.heartbeat = said["lease"]["heartbeat_seconds"]
                return said["stop"]
            # A second worker of the same name is refused until the first has been silent for long enough.
            if status < 500 and status != 429 and said.get("error") != "duplicate":
                raise Refused(f"{said.get('error')}: {said.get('message')}")
            time.sleep(max(after, wait) * random.uniform(0.5, 1))
            wait = min(wait * 2, 10)


class Build:
    """One lease: what it runs, and what it says."""

    def __init__(self, worker, order):
        self.worker, self.order = worker, order
        self.lease = {"build": order["build"], "epoch": order["epoch"]}
        self.seq, self.is_cancelled, self.is_fenced, self.process = 0, False, False, None
        window = order["recipe"].get("orphan_window")
        self.window = window["secs"] if isinstance(window, dict) else window or 300

    def say(self, path, body, encoding=None):
        """Sends something about this build; says hello again where that is wanted, and goes on."""
        while not self.is_fenced:
            try:
                return self.worker.service.ask(path, body, encoding)
            except Again:
                self.worker.say_hello()
        raise Fenced(self.lease)

    def report(self, **body):
        """Says what happened. The number tells a repeat from something new."""
        self.seq += 1
        self.say("reports", {"reports": [dict(self.lease, seq=self.seq, body=body)]})

    def end(self):
        """Ends what runs now: because somebody wants it, or because the lease is over."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, 9)

    def run(self):
        """Runs it from its first step to its end."""
        try:
            # No step starts before the service has acknowledged that it is still ours.
            self.report(report="started")
            outcome, summary = "success", "all steps passed"
            for number, step in enumerate(self.order["recipe"]["steps"]):
                if self.is_cancelled:
                    outcome, summary = "cancelled", "cancelled"
                    break
                self.report(report="step-started", step=number)
                outcome, summary = self.step(number, step)
                cause = None if outcome == "success" else "person" if outcome == "cancelled" else "code"
                self.report(report="step-finished", step=number, outcome=outcome, cause=cause, summary=summary)
                if outcome != "success":
                    summary = f"{step['name']}: {summary}"
                    break
            cause = None if outcome == "success" else "person" if outcome == "cancelled" else "code"
            self.report(report="finished", outcome=outcome, cause=cause, summary=summary)
        except Fenced:
            self.end()

    def step(self, number, step):
        """Runs one step. Gives its outcome, and a line on it."""
        folder = os.path.join(self.worker.folder, str(self.order["build"]))
        os.makedirs(folder, exist_ok=True)
        commands = self.commands(step["action"])
        if commands is None:
            return "exception", "this worker runs `run` and `checkout` only"
        sent = 0
        for command in commands:
            self.process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                start_new_session=True, env=dict(os.environ, **self.environment(step)),
            )
            while piece := os.read(self.process.stdout.fileno(), PIECE_BYTES_MAX):
                sent = self.append(number, sent, piece)
            code = self.process.wait()
            if self.is_fenced:
                raise Fenced(self.lease)
            if self.is_cancelled:
                return "cancelled", "cancelled"
            if code != 0:
                return "failure", f"exit code {code}"
        return "success", "exit code 0"

    def append(self, step, offset, piece):
        """Sends a piece of log until the service has all of it. Gives where the log ends then."""
        begin, end = offset, offset + len(piece)
        while offset < end:
            rest = piece[offset - begin:]
            path = f"logs/{self.lease['build']}/{self.lease['epoch']}/{step}?offset={offset}&length={len(rest)}"
            offset = self.say(path, rest, "identity")["length"]
            if offset < begin:
                # Bytes that it had taken are gone there, and are not here any more either.
                raise Refused(f"the log ends at {offset}, and {begin} bytes were taken before")
        return end

    def commands(self, action):
        """Lists the commands of a step; None if it is of a kind that is not known here."""
        if "run" in action:
            command = action["run"]["command"]
            return [command["arguments"]] if "arguments" in command else [["sh", "-e", "-c", command["script"]]]
        if "checkout" in action:
            stamp = next(iter(self.order["stamps"].values()))
            url = self.order["origins"][stamp["repository"]]["url"]
            return [["git", "init", "-q"], ["git", "fetch", "-q", url, stamp["revision"]],
                    ["git", "checkout", "-q", "--force", "FETCH_HEAD"]]
        return None

    def environment(self, step):
        """Gives the variables that a step finds."""
        told = {"GRISTMILL_BUILD": str(self.order["build"]), "GRISTMILL_BRANCH": self.order["branch"]}
        return {**told, **self.order["recipe"].get("environment", {}), **step.get("environment", {})}


class Worker:
    """Asks for commands and obeys them."""

    def __init__(self, url, token, folder):
        self.service, self.folder = Service(url, token), folder
        self.build, self.thread, self.done, self.saying = None, None, 0, threading.Lock()

    def say_hello(self):
        """Introduces itself with the build that it has, and ends it if it is not its own any more."""
        with self.saying:
            builds = [self.build.lease] if self.build else []
            for lease in self.service.hello(builds):
                if self.build and lease == self.build.lease:
                    self.build.is_fenced = True
                    self.build.end()

    def obey(self, command):
        """Does what is wanted. A command that came before changes nothing."""
        if command["command"] == "start" and self.build is None:
            self.build = Build(self, command["order"])
            self.thread = threading.Thread(target=self.run, args=[self.build])
            self.thread.start()
        elif command["command"] == "cancel" and self.build and command["build"] == self.build.lease["build"]:
            self.build.is_cancelled = True
            self.build.end()

    def run(self, build):
        build.run()
        self.build, self.done = None, self.done + 1

    def beat(self):
        """Shows that it lives while a question is open; ends its build where nobody answers for too long."""
        while True:
            time.sleep(self.service.heartbeat * random.uniform(0.9, 1.1))
            build = self.build
            if build and time.monotonic() - self.service.heard > 0.8 * build.window:
                build.is_fenced = True
                build.end()
            try:
                sent = time.monotonic()
                if self.service.session and self.service.post("beat", {}, self.service.session)[0] == 204:
                    self.service.heard = sent
            except OSError:
                pass

    def work(self, builds):
        threading.Thread(target=self.beat, daemon=True).start()
        self.say_hello()
        while builds is None or self.done < builds:
            try:
                answer = self.service.ask("poll", {"ack": self.service.ack})
            except Again:
                self.say_hello()
                continue
            for command in answer["commands"]:
                self.obey(command)
            self.service.ack = answer["ack"]
            if self.thread and builds is not None:
                self.thread.join()


if __name__ == "__main__":
    url, folder, *count = sys.argv[1:]
    try:
        Worker(url, os.environ["GRISTMILL_WORKER_TOKEN"], folder).work(int(count[0]) if count else None)
    except Refused as problem:
        sys.exit(f"worker.py: {problem}")
