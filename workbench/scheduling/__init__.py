"""Reports at their times: the schedule, the ledger of its slots, the loop that runs them, and files for other schedulers."""

from workbench.scheduling.cron import Cron
from workbench.scheduling.ledger import Ledger, Slot
from workbench.scheduling.schedule import Entry, Schedule, read_schedule
from workbench.scheduling.scheduler import Scheduler

__all__ = ["Cron", "Entry", "Ledger", "Schedule", "Scheduler", "Slot", "read_schedule"]
