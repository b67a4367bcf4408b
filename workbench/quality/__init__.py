"""The quality of what was answered live: logged calls, scored later, with the context that they had."""

from workbench.quality.live import LiveQuality, Scored, ScorePlan

__all__ = ["LiveQuality", "ScorePlan", "Scored"]
