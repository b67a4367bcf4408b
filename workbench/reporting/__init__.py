"""Notebooks that run with nobody at the keyboard, and the pages they leave."""

from workbench.reporting.html import Banner, export_html
from workbench.reporting.parameters import Parameter, notebook_parameters
from workbench.reporting.run import ReportRun, run_notebook

__all__ = ["Banner", "Parameter", "ReportRun", "export_html", "notebook_parameters", "run_notebook"]
