"""Runs the steps of a plan: each once, within the time there is, the failed ones stepped over."""

import json
import os
import pathlib
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

RECORD = "steps.jsonl"  # a line for every step that was run
GRACE_SECONDS = 60  # between SIGTERM, on which train-heads keeps a checkpoint, and SIGKILL
SLACK = 3  # a step is stopped after so many times the seconds it is expected to need
LEAST_LIMIT = 60
NO_PROGRAM = 127  # as shells say it


def note(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Queue:
    """Steps for several threads, in order but for those that wait for a step before them."""

    def __init__(self, steps):
        self.waiting = list(steps)
        self.unfinished = {step.name for step in steps}
        self.changed = threading.Condition()

    def take(self):
        """None when all are taken."""
        with self.changed:
            while self.waiting:
                for step in self.waiting:
                    if not self.unfinished & set(step.after):
                        self.waiting.remove(step)
                        return step
                self.changed.wait()
        return None

    def finish(self, step):
        with self.changed:
            self.unfinished.discard(step.name)
            self.changed.notify_all()


class Runner:
    def __init__(self, out, environment, about, minutes=None, jobs=1, slack=SLACK):
        self.out = out
        self.environment = environment
        self.about = about  # what the record says of the machine and the program
        self.end = time.monotonic() + 60 * minutes if minutes else None
        self.jobs = jobs
        self.slack = slack
        self.lock = threading.Lock()
        self.running = set()
        self.stopped = threading.Event()
        self.outputs = {}

    def run(self, steps):
        """Names of the steps that have no output now."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.outputs = {step.name: step.output(self.out) for step in steps}
        for group in groups(steps):
            jobs = 1 if group[0].alone else self.jobs
            with ThreadPoolExecutor(jobs) as pool:
                try:
                    queue = Queue(group)
                    list(pool.map(self.work, [queue] * jobs))
                except KeyboardInterrupt:
                    self.stop()
        return [step.name for step in steps if not step.output(self.out).exists()]

    def work(self, queue):
        while (step := queue.take()) and not self.stopped.is_set():
            try:
                self.attempt(step)
            finally:
                queue.finish(step)

    def stop(self):
        """Ends what runs, as a time-out does."""
        self.stopped.set()
        with self.lock:
            running = list(self.running)
        for process in running:
            signal_group(process, signal.SIGTERM)
        for process in running:
            end(process)

    def seconds_left(self):
        return float("inf") if self.end is None else self.end - time.monotonic()

    def attempt(self, step):
        if self.stopped.is_set() or step.output(self.out).exists():
            return
        missing = [name for name in step.after if not self.output_of(name).exists()]
        left = self.seconds_left()
        if missing:
            note(f"{step.name}: not run, since {', '.join(missing)} has no result")
        elif left < (LEAST_LIMIT if step.folder else step.seconds):
            note(f"{step.name}: not run, {max(0, left):.0f} s are left of {step.seconds} expected")
        else:
            self.execute(step, min(max(LEAST_LIMIT, self.slack * step.seconds), left))

    def output_of(self, name):
        """Of a step that an earlier call may have done."""
        return self.outputs.get(name, self.out / f"{name}.json")

    def execute(self, step, limit):
        output = step.output(self.out)
        part, log = output.with_suffix(".part"), self.out / f"{step.name}.log"
        command = list(step.command)
        if step.folder:
            folder = self.out / step.name
            command += ["--out", str(folder)] + (["--resume"] if folder.exists() else [])
        begin = time.monotonic()
        code = self.call(command, part, log, limit)
        seconds = time.monotonic() - begin
        # What is told to stop has less than was asked for, whatever code it ends with.
        stopped = code is None or self.stopped.is_set()
        good = not stopped and (code == 0) != step.refused
        if good:
            part.replace(output)
        self.record(step, command, code, seconds, good)
        how = ("done" if good else "timed out" if code is None else "stopped" if stopped
               else f"failed with code {code}")
        note(f"{step.name}: {how} in {seconds:.0f} s ({step.seconds} expected)")
        if not good:
            note(f"    {last_line(log) or last_line(part)}")

    def call(self, command, part, log, limit):
        """The exit code; None after `limit` seconds."""
        with open(part, "wb") as stdout, open(log, "ab") as stderr:
            stderr.write(("$ " + " ".join(command) + "\n").encode())
            stderr.flush()
            try:
                process = subprocess.Popen(command, stdout=stdout, stderr=stderr,
                                           stdin=subprocess.DEVNULL, env=self.environment,
                                           start_new_session=True)
            except OSError as error:
                stderr.write(f"{error}\n".encode())
                return NO_PROGRAM
            with self.lock:
                self.running.add(process)
            try:
                return process.wait(limit)
            except subprocess.TimeoutExpired:
                return None
            finally:
                end(process)
                with self.lock:
                    self.running.discard(process)

    def record(self, step, command, code, seconds, good):
        line = {"name": step.name, "good": good, "code": code, "seconds": round(seconds, 1),
                "command": command, "time": time.strftime("%Y-%m-%d %H:%M:%S"), **self.about}
        with self.lock, open(self.out / RECORD, "a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")


def groups(steps):
    """Runs of steps that may run side by side, and single ones that must be alone."""
    group = []
    for step in steps:
        if step.alone and group:
            yield group
            group = []
        group.append(step)
        if step.alone:
            yield group
            group = []
    if group:
        yield group


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def end(process):
    """Ends a process, if it has not ended by itself, and all that it has started."""
    if process.poll() is None:
        signal_group(process, signal.SIGTERM)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    signal_group(process, signal.SIGKILL)
    process.wait()


def last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
    return next((line.strip()[:200] for line in reversed(lines)
                 if line.strip() and not line.startswith("$ ")), "")


def records(out):
    """What was run, by step: its lines in the record."""
    found, path = {}, pathlib.Path(out) / RECORD
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue  # the line that was being written when the machine went away
        found.setdefault(row["name"], []).append(row)
    return found
