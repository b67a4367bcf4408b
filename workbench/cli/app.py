"""The tree of commands."""

from __future__ import annotations

from cyclopts import App, Parameter

from workbench import __version__
from workbench.cli import (
    ask,
    bench,
    cache,
    calls,
    compare,
    data,
    demo,
    doctor,
    experiment,
    lab,
    model,
    prompt,
    rate,
    release,
    report,
    runs,
    schedule,
    score,
    serve,
    stop,
)

__all__ = ["build"]


def build() -> App:
    """The application with all its commands."""
    app = App(
        name="workbench",
        version=__version__,
        help="Decide with confidence which prompt and model to ship.",
        help_flags=["--help", "-h"],
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,  # cli.main says that it was interrupted, and exits with 130
    )
    app.command(demo.demo)
    app.command(ask.ask)
    app.command(compare.compare)
    app.command(bench.bench)
    app.command(cache.app)
    app.command(calls.app)
    app.command(data.app)
    app.command(doctor.doctor)
    app.command(experiment.app)
    app.command(lab.lab)
    app.command(model.app)
    app.command(prompt.app)
    app.command(rate.rate)
    app.command(release.app)
    app.command(report.app)
    app.command(runs.app)
    app.command(schedule.app)
    app.command(score.score)
    app.command(serve.app)
    app.command(stop.stop)
    return app
