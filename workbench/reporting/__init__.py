"""Notebooks that run with nobody at the keyboard, and the pages they leave."""

from workbench.reporting.alerts import Alert, alert_of, check_webhook, find_program
from workbench.reporting.archive import Archive
from workbench.reporting.checks import Check, budget_checks, parse_check
from workbench.reporting.html import Banner, export_html
from workbench.reporting.parameters import Parameter, notebook_parameters
from workbench.reporting.publishing import publish
from workbench.reporting.report import Report, run_report
from workbench.reporting.run import ReportRun, run_notebook

__all__ = [
    "Alert",
    "Archive",
    "Banner",
    "Check",
    "Parameter",
    "Report",
    "ReportRun",
    "alert_of",
    "budget_checks",
    "check_webhook",
    "export_html",
    "find_program",
    "notebook_parameters",
    "parse_check",
    "publish",
    "run_notebook",
    "run_report",
]
