"""When something happens again: values that tell their next tick from any instant, without a clock of their own."""

from asyncq.schedules.at import At
from asyncq.schedules.cron import Cron
from asyncq.schedules.every import Every
from asyncq.schedules.instants import EPOCH
from asyncq.schedules.schedule import MAX_COUNT, MAX_NAME, CatchUp, Recurring, Schedule
from asyncq.schedules.stored import FORM_VERSION, schedule_from_dict, schedule_to_dict

__all__ = [
    "EPOCH",
    "FORM_VERSION",
    "MAX_COUNT",
    "MAX_NAME",
    "At",
    "CatchUp",
    "Cron",
    "Every",
    "Recurring",
    "Schedule",
    "schedule_from_dict",
    "schedule_to_dict",
]
