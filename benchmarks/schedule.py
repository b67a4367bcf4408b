"""Two reports a day for a simulated month: each slot ends once, whoever is killed on the way.

python benchmarks/schedule.py [--json FILE] [--days 30] [--kills 12] [--seed 1]      some minutes: each run is a real kernel

Two real schedulers, each in its process, share a ledger and a clock that is moved from here: to the next moment that one of them
waits for; by a second for every 50 ms while a report runs. Reports are a notebook in the real worker, papermill and kernel.
The lease is half an hour (else a month is 260,000 renewals). One of the schedulers is killed with SIGKILL so many times, at
random moments: half of them in the middle of a report, after which its worker has its time to end. A new process takes its place.
Once both are away for two days. The days are those around the end of summer time in Berlin; then a week around its beginning.
Counted: the ledger's slots with an outcome against the times that the calendar has, results in the archive, and lines that the
notebook itself wrote.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from common import HERE, Claims, arguments

BERLIN = ZoneInfo("Europe/Berlin")
CRON = "30 2,14 * * *"  # 2:30 comes twice when summer time ends, and not at all when it begins
LEASE = 1800.0
TICK = 0.05  # seconds here for a second there, while a report runs
SCHEDULE = f"""timezone = "Europe/Berlin"
[reports.nightly]
notebook = "nightly"
cron = "{CRON}"
retries = 1
"""
CELL = """from pathlib import Path
from workbench.reporting import publish
with Path("effects.txt").open("a") as file:
    file.write("made\\n")
publish({"answer": 42})
"""


@dataclass
class Counts:
    """What came of the slots. due: how many times the calendar has. outcomes: of the ledger's slots. twice: slots with more than
    one completed result. effects: how often the notebook ran to its last line. real: seconds that it took here."""

    due: int = 0
    slots: int = 0
    strays: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    attempts: int = 0
    kills: int = 0
    kills_in_run: int = 0
    effects: int = 0
    real: float = 0.0


class Simulation:
    """A project, a clock, and the schedulers that wait for it."""

    def __init__(self, project: Path, start: datetime, seed: int) -> None:
        self.project, self.now, self.random = project, start.timestamp(), random.Random(seed)
        self.counts = Counts()
        self._waits: dict[subprocess.Popen[str], tuple[float, bool]] = {}
        self._log = (project / "schedulers.log").open("a")

    def add(self) -> None:
        """One more scheduler."""
        command = [
            sys.executable,
            str(HERE / "peers" / "schedule_job.py"),
            str(self.project),
            str(LEASE),
            str(self.now),
        ]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=self.project
        )
        self._hear(process)

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"a scheduler died: {(self.project / 'schedulers.log').read_text()[-3000:]}")
        said = json.loads(line)
        self._waits[process] = said["wake"], said["busy"]

    @property
    def busy(self) -> subprocess.Popen[str] | None:
        """The scheduler whose report runs, if one does."""
        return next((process for process, (_, busy) in self._waits.items() if busy), None)

    def step(self, until: float) -> None:
        """Move the clock to the next moment that somebody waits for, at most `until`, and let those go on whose time it is."""
        if self.busy:
            time.sleep(TICK)
        self.now = min([until, *(wake for wake, _ in self._waits.values())])
        for process, (wake, _) in list(self._waits.items()):
            if wake <= self.now:
                assert process.stdin is not None
                process.stdin.write(f"{self.now!r}\n")
                process.stdin.flush()
                self._hear(process)

    def run(self, until: float) -> None:
        """Go on to this moment."""
        while self.now < until:
            self.step(until)

    def kill(self, process: subprocess.Popen[str]) -> None:
        """SIGKILL; a worker that it leaves gets its time to see that, as a lease gives it."""
        in_run = self._waits.pop(process)[1]
        self.counts.kills += 1
        self.counts.kills_in_run += in_run
        workers = _workers(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()
        for worker in workers:
            while Path(f"/proc/{worker}/stat").exists():
                time.sleep(0.02)

    def kill_one(self, *, in_run: bool, by: float) -> None:
        """Kill one of them, in the middle of its next report or where it waits, and put another in its place."""
        if in_run:
            while self.busy is None and self.now < by:
                self.step(by)
            for _ in range(self.random.randrange(1, 60)):  # ticks into the run, which takes about 60
                if self.busy is not None:
                    self.step(by)
        self.kill(self.busy or self.random.choice(list(self._waits)))
        self.add()

    def all_away(self, seconds: float) -> None:
        """Kill all, and let time go by without any."""
        away = len(self._waits)
        for process in list(self._waits):
            self.kill(process)
        self.now += seconds
        for _ in range(away):
            self.add()

    def close(self) -> None:
        """Let the last report end, then end the schedulers."""
        while self.busy:
            self.step(self.now + 60)
        for process in list(self._waits):
            process.kill()
            process.communicate()
        self._log.close()


def _workers(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(number) for number in children.read_text().split()]


def make_project(folder: Path) -> None:
    """With a notebook of two cells, and the schedule."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_notebook

    for name in ("notebooks", "reports"):
        (folder / name).mkdir()
    (folder / "workbench.toml").write_text('model = "scripted/echo"\nauthor = "benchmark"\n')
    cells = [new_code_cell("days = 1", metadata={"tags": ["parameters"]}), new_code_cell(CELL)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "notebooks" / "nightly.ipynb")
    (folder / "reports" / "schedule.toml").write_text(SCHEDULE)


def calendar(start: float, end: float) -> list[float]:
    """The times that should come, reckoned without the scheduler's cron: by the dates of the days in Berlin."""
    first, found = datetime.fromtimestamp(start, BERLIN), []
    for day in range((datetime.fromtimestamp(end, BERLIN).date() - first.date()).days + 1):
        for hour in (2, 14):
            date = first.date() + timedelta(days=day)
            found.append(datetime(date.year, date.month, date.day, hour, 30, tzinfo=BERLIN).timestamp())
    return [at for at in found if start < at <= end]


def simulate(folder: Path, start: datetime, days: float, kills: int, seed: int, away: float = 0.0) -> Counts:
    """Two schedulers over these days. kills: how many are spread over them. away: days without any, in the middle."""
    from workbench.reporting import Archive
    from workbench.scheduling import Ledger

    began = time.monotonic()
    make_project(folder)
    world = Simulation(folder, start, seed)
    end = (start + timedelta(days=days)).timestamp()
    for _ in range(2):
        world.add()
    times = sorted(world.random.uniform(world.now, end) for _ in range(kills))
    middle = world.now + days * 43_200
    for number, at in enumerate(times):
        if away and at > middle:
            world.run(middle)
            world.all_away(away * 86_400)
            away = 0.0
        world.run(min(at, end))
        world.kill_one(in_run=number % 2 == 0, by=end)
    if away:
        world.run(middle)
        world.all_away(away * 86_400)
    world.run(end)
    world.close()

    counts, due = world.counts, calendar(start.timestamp(), end)
    ledger = Ledger(folder / ".workbench" / "schedule" / "ledger.sqlite", "reader")
    slots = ledger.history(limit=10_000)
    ledger.close()
    counts.due, counts.slots = len(due), len(slots)
    counts.strays = len({slot.due.timestamp() for slot in slots} ^ set(due))
    counts.outcomes = Counter(slot.outcome or "open" for slot in slots)
    counts.attempts = sum(slot.attempts for slot in slots)
    results = [run.result for run in Archive(folder / "reports").runs("nightly")]
    completed = Counter(result["slot"] for result in results if result["status"] == "completed")
    counts.twice = sum(count > 1 for count in completed.values())
    made = folder / "effects.txt"
    counts.effects = len(made.read_text().splitlines()) if made.exists() else 0
    counts.real = time.monotonic() - began
    return counts


def report(claims: Claims, title: str, counts: Counts) -> None:
    """Print what came of the slots, and claim that each ended once."""
    shown = ", ".join(f"{count} {outcome}" for outcome, count in counts.outcomes.most_common())
    print(
        f"{title}: {counts.due} slots due, {counts.slots} in the ledger: {shown}; {counts.attempts} attempts, "
        f"{counts.effects} times to the notebook's last line; {counts.kills} schedulers killed, {counts.kills_in_run} of them "
        f"in a run; {counts.real:.0f} s",
        flush=True,
    )
    once = counts.slots - counts.outcomes["open"] - counts.strays
    label = f"{title}: slots with exactly one outcome"
    holds = (
        once == counts.due == counts.slots and counts.outcomes["completed"] + counts.outcomes["missed"] == counts.due
    )
    claims.add(label, once, counts.due, "slots of the calendar", once / counts.due, "1", holds=holds)
    label = f"{title}: slots with two completed reports"
    claims.add(label, counts.twice, 0, "none", float(counts.twice), "0", holds=counts.twice == 0)


def main() -> None:
    """Print, and with --json write, the claims."""
    parser = arguments(__doc__)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    claims = Claims()
    autumn = datetime(2026, 10, 10, 12, tzinfo=BERLIN), options.days, options.kills, options.seed, 2.0
    spring = datetime(2026, 3, 25, 12, tzinfo=BERLIN), 7, 2, options.seed, 0.0
    for change, (start, days, kills, seed, away) in (("the end of summer time", autumn), ("its beginning", spring)):
        with tempfile.TemporaryDirectory() as folder:
            report(claims, f"{days:g} days over {change}", simulate(Path(folder), start, days, kills, seed, away))
    claims.write(options.json)


if __name__ == "__main__":
    main()
