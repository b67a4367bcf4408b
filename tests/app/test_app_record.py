"""What the row of an application's call says."""

from __future__ import annotations

from workbench import Workbench


async def test_an_application_s_row_is_whole(bench: Workbench) -> None:
    """Whose call, of which release and prompt, on which weights, how long, how dear, in which trace, and what it rested on."""
    bench.prompts.create("helpdesk", "From {{context}} answer {{question}}")
    bench.releases.create("help-api", bench.variants(["helpdesk@1"])[0], reason="first")
    with bench.span("answer", session="s1") as here:
        await bench.call("help-api", user="u1", tenant="t1", question="how?", context="Press reset to reset.")
    row = bench.calls.frame().iloc[0]
    expected = {
        "tenant": "t1", "user": "u1", "feature": "help-api", "release": 1, "prompt_ref": "helpdesk@1", "model": "bot/m",
        "endpoint": "bot", "source": "model", "session": "s1", "trace_id": here.trace_id, "parent_id": here.span_id,
        "context": "Press reset to reset.", "text": "from one",
    }  # fmt: skip
    assert expected == {name: row[name] for name in expected}
    filled = ["prompt_digest", "model_digest", "params", "prompt_tokens", "completion_tokens", "latency", "ended_at"]
    assert row[filled].notna().all()
    assert row["error"] is None or row["error"] != row["error"]
