"""`workbench experiment …`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from workbench.online.experiments import Experiments

__all__ = ["app"]

app = App(name="experiment", help="Experiments on live traffic: serve a candidate to a share of the users, and see.")

_Json = Annotated[bool, Parameter(name="--json")]
_Reason = Annotated[str, Parameter(alias="-m")]


@app.command
def start(
    feature: str,
    treatment: list[str],
    *,
    share: float,
    reason: _Reason,
    name: str = "canary",
    primary: str = "",
    group: str | None = None,
    slice_: Annotated[str | None, Parameter(name="--slice")] = None,
    override: list[str] | None = None,
    salt: str = "",
    evidence: str | None = None,
) -> None:
    """Serve candidates to a share of the users, beside what is live. `workbench release guard` sets and watches guardrails.

    Parameters
    ----------
    feature
        Such as triage-api.
    treatment
        The number of a release; or several, each as NAME=NUMBER.
    share
        Of all users (with a group: of those in its slice), that each treatment gets, such as 0.05.
    reason
        Why; the history shows it.
    name
        Of the experiment.
    primary
        The outcome that decides, such as solved.
    group
        Experiments of one group share no users, if their slices do not overlap.
    slice_
        Which part of the group's users, such as 0:0.5.
    override
        USER=ARM: a tester; may be given again.
    salt
        Equal salts give users equal arms; by default FEATURE.NAME.
    evidence
        What justified it, such as the id of a comparison.
    """
    made = _experiments().start(
        feature, treatment=_arms(treatment), share=share, reason=reason, name=name, primary=primary, group=group,
        slice=_slice(slice_), overrides=_testers(override or []), salt=salt, evidence=evidence,
    )  # fmt: skip
    _say(made)


@app.command(name="list")
def list_(*, json_output: _Json = False) -> None:
    """List the experiments that are on a feature now.

    Parameters
    ----------
    json_output
        Print JSON.
    """
    found = _experiments().list()
    if json_output:
        print(json.dumps([state.to_mapping() for state in found], indent=2))
        return
    for state in found:
        _say(f"{state}\n")
    if not found:
        print("No experiment runs: workbench experiment start FEATURE RELEASE --share 0.05 -m 'why'")


@app.command
def show(
    feature: str, name: str | None = None, *, level: float = 0.95, fewest: int = 100, json_output: _Json = False
) -> None:
    """Show how an experiment stands and what it says so far; look as often as you like.

    Parameters
    ----------
    feature
        Such as triage-api.
    name
        Of the experiment, or NAME@START; by default the one that is there, or else the last one.
    level
        Of the intervals, which hold at all times together.
    fewest
        Users in each arm below which there is no interval.
    json_output
        Print JSON.
    """
    experiments = _experiments()
    state = experiments.get(feature, name)
    said = experiments.analyse(feature, state.experiment.key, level=level, fewest=fewest)
    if json_output:
        print(json.dumps({"state": state.to_mapping(), "analysis": said.to_mapping()}, indent=2))
        return
    _say(f"{state}\n\n{said}")


@app.command
def who(feature: str, user: str) -> None:
    """Say which release a user gets now, and why.

    Parameters
    ----------
    feature
        Such as triage-api.
    user
        As the application names the user.
    """
    given = _experiments().assign(feature, user)
    arm = f"arm {given.arm} of {given.experiment}" if given.arm else "in no arm"
    _say(f"release {given.release}: {arm} ({given.why}, {'counted' if given.counted else 'not counted'})")


@app.command
def ramp(feature: str, share: float, *, reason: _Reason, shrink: bool = False) -> None:
    """Serve the treatments to more users; who has one keeps it.

    Parameters
    ----------
    feature
        Such as triage-api.
    share
        Of all users, that each treatment gets, such as 0.5.
    reason
        Why; the history shows it.
    shrink
        Allow a smaller share, which takes the treatment away from users who have had it.
    """
    _say(_experiments().ramp(feature, share, reason=reason, shrink=shrink))


@app.command
def stop(feature: str, *, reason: _Reason, arm: str | None = None) -> None:
    """End an experiment: everybody gets what is live, and what was counted stays.

    Parameters
    ----------
    feature
        Such as triage-api.
    reason
        Why; the history shows it.
    arm
        Only take this treatment's share to 0, for good; the others go on.
    """
    _say(_experiments().stop(feature, reason=reason, arm=arm))


@app.command
def kill(feature: str, *, reason: _Reason) -> None:
    """The kill switch: everybody, testers too, gets the control at once; `resume` takes it back.

    Parameters
    ----------
    feature
        Such as triage-api.
    reason
        Why; the history shows it.
    """
    _say(_experiments().kill(feature, reason=reason))


@app.command
def resume(feature: str, *, reason: _Reason) -> None:
    """Take `kill` back: all users have the arm again that they had.

    Parameters
    ----------
    feature
        Such as triage-api.
    reason
        Why; the history shows it.
    """
    _say(_experiments().resume(feature, reason=reason))


@app.command
def override(feature: str, *users: str, reason: _Reason) -> None:
    """Give testers an arm. They are in no analysis.

    Parameters
    ----------
    feature
        Such as triage-api.
    users
        Each as USER=ARM, or USER= to take it away.
    reason
        Why; the history shows it.
    """
    from workbench.errors import InputError

    if not users:
        raise InputError("name the testers, as in `workbench experiment override triage-api tess=treatment -m '…'`.")
    _say(_experiments().override(feature, {u: arm or None for u, arm in _testers(users).items()}, reason=reason))


@app.command
def promote(feature: str, arm: str | None = None, *, reason: _Reason, evidence: str | None = None) -> None:
    """Make a treatment's release live for everybody; the experiment ends in the same step.

    Parameters
    ----------
    feature
        Such as triage-api.
    arm
        Of the treatment; may be left out where one is left.
    reason
        Why; the history shows it.
    evidence
        What justified it; by default the experiment.
    """
    _say(f"{_experiments().promote(feature, arm, reason=reason, evidence=evidence).label}: live")


def _arms(given: list[str]) -> int | dict[str, int]:
    from workbench.errors import InputError

    wrong = InputError(f"{' '.join(given)}: write the number of a release, such as 3, or several as short=3 long=4.")
    if len(given) == 1 and given[0].isdecimal():
        return int(given[0])
    named: dict[str, int] = {}
    for text in given:
        name, _, number = text.partition("=")
        if not name or not number.isdecimal() or name in named:
            raise wrong
        named[name] = int(number)
    return named


def _slice(given: str | None) -> tuple[float, float]:
    from workbench.errors import InputError

    start, _, end = ("0:1" if given is None else given).partition(":")
    try:
        return float(start), float(end)
    except ValueError:
        raise InputError(f"--slice {given!r} must be START:END, such as 0:0.5.") from None


def _testers(given: list[str] | tuple[str, ...]) -> dict[str, str]:
    from workbench.errors import InputError

    found = {}
    for text in given:
        user, sign, arm = text.rpartition("=")  # an arm's name holds no =, a user's may
        if not sign or not user:
            raise InputError(f"{text!r} must be USER=ARM, such as tess=treatment.")
        found[user] = arm
    return found


def _experiments() -> Experiments:
    from workbench.workbench import Workbench

    return Workbench().experiments


def _say(what: object) -> None:
    from workbench.tables import clean_text

    print(clean_text(str(what)))
