"""Experiments on live traffic: who gets which release, what became of it, and what undoes itself.

`OnlineExperiment` is what an experiment is (who gets what, see `assignment`); `bench.experiments` starts and ends them.
"""

from workbench.online.assignment import Arm, Assignment, assign, bucket
from workbench.online.assignment import Experiment as OnlineExperiment
from workbench.online.rules import Guardrail, Rules

__all__ = ["Arm", "Assignment", "Guardrail", "OnlineExperiment", "Rules", "assign", "bucket"]
