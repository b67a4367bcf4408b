"""What an application calls."""

from workbench.app.app import App

__all__ = ["App"]
