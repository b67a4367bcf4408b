"""Rating by keyboard in a notebook's cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.evaluation.ratings.session import RatingSession
from workbench.tables import clean_text
from workbench.widgets.view import Still, View, asset, paragraphs

__all__ = ["RatingView", "still_rating"]


class RatingView(View):
    """Draws a session: what to rate, one key a choice, undo, how far it is. The browser gets only what a rater may see, and
    sends what was pressed; a vote is on disk before the next answer is shown."""

    _esm = asset("rating.js")
    _css = asset("rating.css")

    def __init__(self, session: RatingSession) -> None:
        super().__init__(f"{session.rater}: {session.question}", state=_state_of(session))
        self._session = session

    def still(self) -> Still:
        """See `still_rating`."""
        return still_rating(self._session)

    def hear_vote(self, content: Mapping[str, Any]) -> None:
        """{"vote": value, "card": id}"""
        self._session.vote(content.get("vote"), card=str(content.get("card", "")))
        self.state = _state_of(self._session)

    def hear_skip(self, content: Mapping[str, Any]) -> None:
        """{"card": id}"""
        self._session.skip(card=str(content.get("card", "")))
        self.state = _state_of(self._session)

    def hear_undo(self, content: Mapping[str, Any]) -> None:
        """Take the last vote back."""
        self._session.undo()
        self.state = _state_of(self._session)


def _state_of(session: RatingSession) -> dict[str, Any]:
    """What the browser draws. Texts are plain; it sets them as text, never as HTML."""
    card, progress = session.current, session.progress
    return {
        "question": clean_text(session.question),
        "rater": clean_text(session.rater),
        "choices": [{"value": c.value, "label": c.label, "key": c.key} for c in session.scale.choices],
        "card": None
        if card is None
        else {
            "id": card.card_id,
            "inputs": [[clean_text(name), clean_text(value)] for name, value in card.inputs],
            "context": clean_text(card.context),
            "expected": clean_text(card.expected),
            "answers": [clean_text(text) for text in card.answers],
        },
        "rated": progress.rated,
        "skipped": progress.skipped,
        "total": progress.total,
        "agreement": "" if card is not None else str(session.agreement()),
    }


def still_rating(session: RatingSession) -> Still:
    """Question, progress and agreement. What is to be rated is left out: nobody could vote on it here."""
    return paragraphs("Rating", [session.question, f"{session.rater}: {session.progress}", str(session.agreement())])
