"""Gates of a pipeline: what a comparison must show before a change may pass."""

from workbench.evaluation.gates.gate import Gate, read_gates
from workbench.evaluation.gates.report import GateCheck, GateReport

__all__ = ["Gate", "GateCheck", "GateReport", "read_gates"]
