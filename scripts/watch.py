"""The memory and the processor time of processes while something runs."""
import re, threading

import measure


class Watch:
    """The most memory and the processor time of a process and its children, while this is open."""

    def __init__(self, pid):
        self.pid, self.peak, self.cpu, self.ended = pid, 0.0, {}, threading.Event()
        self.thread = threading.Thread(target=self.look_again, daemon=True)

    def __enter__(self):
        self.look()
        self.before = dict(self.cpu)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.look()

    def look_again(self):
        while not self.ended.wait(0.02):
            self.look()

    def look(self):
        for pid in [self.pid, *children(self.pid)]:
            try:
                with open(f"/proc/{pid}/status") as status:
                    found = re.search(r"VmHWM:\s+(\d+)", status.read())
                self.cpu[pid] = measure.cpu_seconds(pid)[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            self.peak = max(self.peak, int(found.group(1)) / 1024 if found else 0)

    def cpu_seconds(self):
        return sum(self.cpu.values()) - sum(self.before.values())


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            return [int(child) for child in listed.read().split()]
    except FileNotFoundError:
        return []
