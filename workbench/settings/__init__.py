"""Settings: the environment, then `.env`, then `workbench.toml`, in that order of strength, in one typed object.

`load_settings()` reads them once and keeps for each value which setting chose it, so that `workbench doctor` can say so.
The project is the nearest folder upwards that holds a `workbench.toml`, else the current one. State lives in
`.workbench/` (WORKBENCH_HOME); prompts and data sets live in the project.
"""

from __future__ import annotations

from workbench.settings.loading import load_settings
from workbench.settings.secret import Secret
from workbench.settings.settings import DEFAULT_MODEL, Endpoint, Settings

__all__ = ["DEFAULT_MODEL", "Endpoint", "Secret", "Settings", "load_settings"]
