"""How long it takes to say which release a user gets: ours beside LaunchDarkly's and GrowthBook's Python SDKs.

python benchmarks/assignment.py [--json FILE] [--rounds 30]      needs: pip install 'llm-workbench[benchmarks]'

Ours: `bench.app.choose`, by which `bench.call` begins: what a real watcher has of the feature, the experiment on it, the arm of
the user, and the release of that arm. LaunchDarkly: `variation` on its own test data (which knows no percentages, so that it has
less to do), and on a file with a 50:50 rollout; no events. GrowthBook: `run` of a 50:50 experiment, attributes set for each user;
no tracking. All answer with a prompt of the same size, for users that change with every call. Rounds alternate; ratios are
medians over rounds, with the 10th and 90th percentile.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Claims, arguments, median, with_project

from workbench import Workbench

FEATURE = "triage-api"
CALLS = 2_000
TEXT = "Label the message as bug, billing or other. " * 70 + "{{message}}"
CONFIG = {"prompt": TEXT, "model": "ollama/llama3.2:3b", "temperature": 0}
Choose = Callable[[str], object]


async def ours(bench: Workbench) -> Choose:
    """Release 1 against release 2, half of the users each."""
    prompt = bench.prompts.create("triage", TEXT)
    for live in (True, False):
        bench.releases.create(FEATURE, bench.variants([prompt])[0], reason="benchmark", live=live)
    bench.experiments.start(FEATURE, treatment=2, share=0.5, reason="benchmark")
    await bench.app.ready(FEATURE)
    choose = bench.app.choose
    assert {choose(FEATURE, str(n))[0].number for n in range(100)} == {1, 2}
    return lambda user: choose(FEATURE, user)


def launchdarkly(folder: Path) -> tuple[dict[str, Choose], Callable[[], None]]:
    """On test data, and on a file."""
    import ldclient
    from ldclient.config import Config
    from ldclient.integrations import Files
    from ldclient.integrations.test_data import TestData

    data = TestData.data_source()
    data.update(data.flag(FEATURE).variations(CONFIG, CONFIG | {"temperature": 1}).fallthrough_variation(0).on(True))
    halves = [{"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}]
    flag = {
        "key": FEATURE, "on": True, "version": 1, "salt": "abc", "offVariation": 0, "targets": [], "rules": [],
        "prerequisites": [], "fallthrough": {"rollout": {"variations": halves, "kind": "experiment", "seed": 1}},
        "variations": [CONFIG, CONFIG | {"temperature": 1}],
    }  # fmt: skip
    file = folder / "flags.json"
    file.write_text(json.dumps({"flags": {FEATURE: flag}}))
    sources = {"test data": data, "a file with a rollout": Files.new_data_source(paths=[str(file)])}
    clients = {
        name: ldclient.LDClient(Config("key", update_processor_class=source, send_events=False))
        for name, source in sources.items()
    }

    def of(client: Any) -> Choose:
        assert client.is_initialized()
        return lambda user: client.variation(FEATURE, ldclient.Context.create(user), None)

    found = {f"LaunchDarkly's variation on {name}": of(client) for name, client in clients.items()}
    rollout = found["LaunchDarkly's variation on a file with a rollout"]
    assert {str(rollout(str(n))["temperature"]) for n in range(100)} == {"0", "1"}  # type: ignore[index]
    return found, lambda: [client.close() for client in clients.values()] and None


def growthbook() -> Choose:
    """An inline experiment."""
    from growthbook import Experiment, GrowthBook

    book = GrowthBook(attributes={"id": ""})
    experiment = Experiment(key="canary", variations=[CONFIG, CONFIG | {"temperature": 1}], hashVersion=2)

    def choose(user: str) -> object:
        book.set_attributes({"id": user})
        return book.run(experiment).value

    assert {choose(str(n))["temperature"] for n in range(100)} == {0, 1}  # type: ignore[index]
    return choose


async def compare(claims: Claims, bench: Workbench, rounds: int) -> None:
    """Beside all three; `bench`: of an empty project."""
    choose = await ours(bench)
    darkly, close = launchdarkly(bench.settings.project)
    peers = darkly | {"GrowthBook's run": growthbook()}
    found: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    users = [f"user-{number}" for number in range(CALLS)]
    for number in range(rounds + 1):
        for name, job in {"ours": choose, **peers}.items():
            began = time.perf_counter()
            for user in users:
                job(user)
            if number:  # the first round warms up
                found[name].append(1e6 * (time.perf_counter() - began) / CALLS)
    close()
    for name in peers:
        ratios = sorted(a / b for a, b in zip(found["ours"], found[name], strict=True))
        low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
        ratio = median(ratios)
        label = f"release + arm for a user, microseconds (ratio {low:.3f} to {high:.3f} over {rounds} rounds)"
        mine, peer = median(found["ours"]), median(found[name])
        claims.add(label, mine, peer, name, ratio, "<= 0.2", holds=ratio <= 0.2)


def main() -> None:
    """Print, and with --json write, one line for each claim."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    claims = Claims()
    with_project(lambda bench: compare(claims, bench, options.rounds))
    claims.write(options.json)


if __name__ == "__main__":
    main()
