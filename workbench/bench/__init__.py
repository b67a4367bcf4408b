"""The parts of `Workbench`, by what they are for; `workbench.workbench` puts them together."""
