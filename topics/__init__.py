"""The contract: what is said, on which subject, in which bytes; and the client that other services use."""

from .client import Client, connect
from .errors import MetierError
from .messages import Answer, Class, Context, Event, Finding, Privacy, State, Task
from .subjects import Subjects

__all__ = [
    "Answer",
    "Class",
    "Client",
    "Context",
    "Event",
    "Finding",
    "MetierError",
    "Privacy",
    "State",
    "Subjects",
    "Task",
    "connect",
]
