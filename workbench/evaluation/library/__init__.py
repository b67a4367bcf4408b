"""The project's data sets: what is there, and where new ones come from."""

from workbench.evaluation.library.library import Datasets

__all__ = ["Datasets"]
