"""Data sets to Langfuse and back, on a double of the server: digests carried, nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from workbench import Workbench
from workbench.cli import main
from workbench.errors import DatasetError, InputError, LangfuseError, SettingsError
from workbench.settings import load_settings

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text("utf-8"))["exchanges"]
ROWS = [
    {"id": "t-2", "inputs": {"message": "late", "b": 1.0}, "expected": ["x", 2.5], "metadata": {"n": 3.0, "workbench": "w"}},
    {"id": "t-1", "inputs": {"message": "big", "b": 2**60 + 1}, "context": "c", "split": "dev"},
    {"inputs": {"message": "plain \u2028 'ü'", "b": "1"}, "expected": {"k": None}},
]  # fmt: skip


@pytest.fixture
def benches(langfuse_double: Any, tmp_path: Path) -> tuple[Workbench, Workbench]:
    """Two projects of one Langfuse, the first with datasets/tickets.jsonl."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name / "datasets").mkdir(parents=True)
        made.append(Workbench(settings=load_settings(tmp_path / name, environ=langfuse_double.environment)))
    write(tmp_path / "one", ROWS)
    return made[0], made[1]


def write(project: Path, rows: list[dict[str, Any]], name: str = "tickets") -> None:
    (project / "datasets" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_recorded_exchanges_about_data_sets_play_on_the_double(langfuse_double: Any) -> None:
    """Each recorded request, in its order, gets the recorded status and answer; so do scores and spans."""
    key, secret = (langfuse_double.environment[f"LANGFUSE_{name}_KEY"] for name in ("PUBLIC", "SECRET"))
    elsewhere = ("id", "createdAt", "updatedAt", "datasetId")

    def comparable(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: comparable(item) for name, item in value.items() if name not in elsewhere}
        return [comparable(item) for item in value] if isinstance(value, list) else value

    played = 0
    with httpx.Client(base_url=langfuse_double.url, auth=(key, secret)) as http:
        for exchange in RECORDED:
            name, asked, recorded = exchange["name"], exchange["request"], exchange["response"]
            if not name.startswith(("dataset_", "score_", "otlp_")):
                continue
            played += 1
            answer = http.request(asked["method"], asked["path"], params=asked.get("query"), json=asked.get("json"))
            assert (name, recorded["status"]) == (name, answer.status_code)
            if name != "otlp_json":
                assert (name, comparable(recorded["json"])) == (name, comparable(answer.json()))
    assert 15 == played


def test_a_data_set_goes_there_and_back_with_its_digest_double(benches: Any, langfuse_double: Any) -> None:
    """What JavaScript would change comes back as it was; order, ids, context and split too; a second time does nothing."""
    one, two = benches
    digest = one.dataset("tickets").digest
    done = one.datasets.push("tickets")
    assert (done.action, done.sent, done.examples, done.digest) == ("pushed", 3, 3, digest)
    assert "unchanged" == one.datasets.push("tickets").action
    back = two.datasets.pull("tickets")
    assert ("pulled", digest, 3) == (back.action, back.digest, back.sent)
    assert digest == two.dataset("tickets").digest
    assert ("message", "b") == two.dataset("tickets").inputs
    assert "unchanged" == two.datasets.pull("tickets").action
    shown = next(item for item in langfuse_double.data.items.values() if item["metadata"]["workbench"]["id"] == "t-2")
    assert ({"message": "late", "b": 1}, ["x", 2.5]) == (shown["input"], shown["expectedOutput"])
    assert digest == langfuse_double.data.sets["tickets"]["metadata"]["workbench"]["digest"]


def test_nothing_is_overwritten_double(benches: Any, langfuse_double: Any, tmp_path: Path) -> None:
    """Other content under the same name is a conflict on either side that names what differs; another name works."""
    one, two = benches
    one.datasets.push("tickets")
    before = json.dumps(langfuse_double.data.items)
    write(tmp_path / "two", [ROWS[0] | {"expected": "other"}, ROWS[1]])
    with pytest.raises(DatasetError, match=r"holds other examples.*1 differs \(t-2\), 1 only there.*--to tickets-v2"):
        two.datasets.push("tickets")
    with pytest.raises(DatasetError, match=r"1 differs \(t-2\), 1 only there.*--to tickets-v2"):
        two.datasets.pull("tickets")
    write(tmp_path / "two", [*ROWS, {"id": "new", "inputs": {"message": "m", "b": 0}}])
    with pytest.raises(DatasetError, match="1 only here"):
        two.datasets.push("tickets")
    assert before == json.dumps(langfuse_double.data.items)
    assert 4 == two.datasets.push("tickets", to="team/tickets v2").sent
    assert 7 == len(langfuse_double.data.items)
    assert two.dataset("tickets").digest == one.datasets.pull("team/tickets v2", to="tickets-v2").digest
    with pytest.raises(InputError, match="another name"):
        one.datasets.pull("team/tickets v2")


def test_a_push_that_broke_off_is_done_again_double(benches: Any, langfuse_double: Any, tmp_path: Path) -> None:
    """Only what is missing is sent."""
    one, _ = benches
    write(tmp_path / "one", [{"id": str(n), "inputs": {"message": f"m {n}"}} for n in range(130)], "many")
    langfuse_double.data.fail_after = 100
    with pytest.raises(LangfuseError):
        one.datasets.push("many")
    there = len(langfuse_double.data.items)
    assert 64 <= there <= 100
    langfuse_double.data.fail_after = None
    langfuse_double.clashes = 0
    done = one.datasets.push("many")
    assert (130 - there, 130) == (done.sent, len(langfuse_double.data.items))
    langfuse_double.mode = "500"
    with pytest.raises(LangfuseError, match="many"):
        one.datasets.push("many")


def test_what_people_make_and_edit_there_is_pulled_double(benches: Any, langfuse_double: Any) -> None:
    """An edit is told by the digest, archived items are left out, foreign items become examples or an error that says why not."""
    one, two = benches
    one.datasets.push("tickets")
    first = next(item for item in langfuse_double.data.items.values() if item["metadata"]["workbench"]["id"] == "t-2")
    first["expectedOutput"] = "edited"
    next(item for item in langfuse_double.data.items.values() if item["input"]["message"] == "big")["status"] = (
        "ARCHIVED"
    )
    back = two.datasets.pull("tickets")
    assert "1 archived" in str(back)
    assert "edited there since it was pushed" in str(back)
    assert ["edited", {"k": None}] == [example.expected for example in two.dataset("tickets")]
    key, secret = (langfuse_double.environment[f"LANGFUSE_{name}_KEY"] for name in ("PUBLIC", "SECRET"))
    with httpx.Client(base_url=langfuse_double.url + "/api/public", auth=(key, secret)) as http:
        http.post("/v2/datasets", json={"name": "made"})
        with pytest.raises(DatasetError, match="has no items"):
            two.datasets.pull("made")
        for number in range(2):
            http.post(
                "/dataset-items",
                json={"datasetName": "made", "id": f"i{number}", "input": f"q{number}", "metadata": [1]},
            )
        assert 2 == two.datasets.pull("made").sent
        assert [("i0", {"input": "q0"}), ("i1", {"input": "q1"})] == [
            (e.id, dict(e.inputs)) for e in two.dataset("made")
        ]
        assert "unchanged" == two.datasets.pull("made").action
        http.post("/dataset-items", json={"datasetName": "made", "id": "i2", "input": {"other": 1}})
        with pytest.raises(DatasetError, match=r"'made' cannot be used here: item:3: input 'input' is missing"):
            two.datasets.pull("made", to="made2")
    with pytest.raises(DatasetError, match="no data set 'nope'"):
        two.datasets.pull("nope")


def run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_the_commands_double(
    benches: Any,
    langfuse_double: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """push and pull from a shell; without Langfuse the fix is said."""
    monkeypatch.chdir(tmp_path / "one")
    assert 2 == run("data", "push", "tickets")
    assert "set LANGFUSE_HOST" in capsys.readouterr().err
    for name, value in langfuse_double.environment.items():
        monkeypatch.setenv(name, value)
    assert 0 == run("data", "push", "tickets", "--json")
    assert 3 == json.loads(capsys.readouterr().out)["sent"]
    monkeypatch.chdir(tmp_path / "two")
    assert 0 == run("data", "pull", "tickets")
    assert "3 examples of Langfuse's data set tickets written to" in capsys.readouterr().out
    with pytest.raises(SettingsError):
        Workbench(settings=load_settings(tmp_path, environ={})).datasets.push("tickets")
