"""What the bench stores: one JSON file for each run, in these shapes."""

from __future__ import annotations

import datetime as dt

import msgspec


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what a run was made."""

    date: dt.datetime
    #: Of the repository; with "+" if files differ from it.
    revision: str
    system: str
    cpu: str
    #: Cores this process may use.
    cores: int
    memory_gib: float
    #: Processes that wanted a core, on average over the minute before the run.
    load: float
    versions: dict[str, str]


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of task under one load; the median of the rounds."""

    #: Which specialists, and how: one, three (in parallel) or chain (of three).
    shape: str
    #: By which of its ways a contender was asked, if it has several.
    way: str = ""
    #: Tasks at a time; 0: they came on a schedule, `rate` a second.
    in_flight: int
    rate: float
    #: Of all rounds together.
    tasks: int
    seconds: float
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    #: CPU time per task by process.
    cpu_ms: dict[str, float]


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What a task for three specialists puts on the broker."""

    #: Messages of one task by kind.
    messages: dict[str, int]
    #: Their payloads and headers.
    size_bytes: dict[str, int]
    #: Those the sender waits for; those that are pulled and acknowledged.
    awaited: int
    pulled: int
    #: What the server counted per task under load: acknowledgements and pull requests included.
    server_in: float = 0.0
    server_out: float = 0.0


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """The way of a task with models that return at once."""

    rounds: int
    #: By contender: Metier, its variants, and others.
    contenders: dict[str, list[Cell]]
    traffic: Traffic


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The same graph in another system."""

    #: Whether what it has accepted survives the end of its processes, and what of it is kept.
    durable: str
    kept: str
    versions: dict[str, str]
    cells: list[Cell]
    #: Why there are no figures.
    absent: str = ""


class Peers(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, Metier first, in the same run."""

    rounds: int
    peers: dict[str, Peer]


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from `metier up`."""

    ready_s: float
    first_answer_s: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """One process after one answered task: its own pages, and all it maps."""

    name: str
    uss_mib: float
    rss_mib: float
    #: An actor with no model in its process.
    bare: bool = False


class Elastic(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from a task to its answer where there was no replica, medians; and to the decision to grow."""

    #: Specialists of the trip team, each asked once.
    samples: int
    #: Where the model is in a process that runs; where each loads its own.
    shared_s: float
    own_s: float
    #: Of those that load their own.
    slowest_s: float
    #: Tasks that come at once, and the seconds from the first to the decision.
    flood: int
    decided_s: float


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway killed and started again under load."""

    kills: int
    clients: int
    tasks: int
    #: Those the stream holds of these tasks; those a client did not see, and those it saw twice.
    events: int
    lost: int
    doubled: int
    #: The longest from a kill to a gateway that is ready again.
    away_s: float


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks through the HTTP door, and beside it over the bus. MB are 10^6 bytes of resident memory."""

    #: Of each kind with one in flight.
    tasks: int
    bus_p50_ms: float
    bus_p99_ms: float
    http_p50_ms: float
    http_p99_ms: float
    #: From POST to the first event of a stream that was opened with the id it returned.
    first_event_p50_ms: float
    first_event_p99_ms: float
    in_flight: int
    per_s: float
    streams: int
    idle_mb: float
    streams_mb: float
    broker_mb: float
    killed: Killed


class Decoder(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run the small language model; the median of the rounds."""

    #: In what its weights are.
    weights: str = ""
    versions: dict[str, str] = {}
    start_s: float = 0.0
    #: Of one prompt.
    prompt_tokens: int = 0
    #: Tokens a second, by how many prompts are answered at once.
    per_s: dict[int, float] = {}
    #: To the first words, one at once.
    first_ms: float = 0.0
    #: A whole tool call: what it read, what it wrote; the last call itself.
    call_ms: float = 0.0
    call_prompt_tokens: int = 0
    call_tokens: float = 0.0
    call_text: str = ""
    #: Why there are no figures.
    absent: str = ""


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, in the same run, on as many threads."""

    rounds: int
    threads: int
    prompt_tokens: int
    output_tokens: int
    decoders: dict[str, Decoder]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    machine: Machine
    path: Path | None = None
    peers: Peers | None = None
    #: By team.
    start: dict[str, Start] | None = None
    #: Of the trip team.
    memory: list[Memory] | None = None
    door: Door | None = None
    elastic: Elastic | None = None
    engine: Engines | None = None
