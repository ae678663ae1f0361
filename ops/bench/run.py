"""`make bench`, `make bench-peers` and `make bench-engine`: measures, prints, and stores what was measured.

python ops/bench/run.py [path|start|elastic|memory|door|all|peers|engine] [--seconds N] [--rounds N] [--out DIR]
python ops/bench/run.py --readme      rewrites README.md from the newest stored figures
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
import uvloop
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this folder is no package of the distribution

from metier.cluster.commands.session import TRIP  # noqa: E402
from metier.cluster.demo import TEXT  # noqa: E402
from metier.cluster.models import cores  # noqa: E402
from metier.cluster.view import console, working  # noqa: E402
from metier.topics.errors import MetierError  # noqa: E402
from ops.bench import comparison, door, elastic, engines, machine, path, start, tables  # noqa: E402
from ops.bench.contender import ONE  # noqa: E402
from ops.bench.figures import Report  # noqa: E402
from ops.bench.sections import sections  # noqa: E402

RESULTS = Path(__file__).parent / "results"
PARTS = ("path", "peers", "start", "elastic", "memory", "door", "engine")


def main() -> int:
    """The entry point."""
    options = arguments()
    if options.readme:
        tables.write_readme((name, report.machine, sections(report)) for name, report in newest(options.out))
        return 0
    screen = console()
    try:
        report = uvloop.run(measure(options, screen))
    except MetierError as error:
        screen.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    tables.show(screen, sections(report), report.machine)
    screen.print(f"stored in {store(report, options.part, options.out)}", markup=False, soft_wrap=True)
    return 0


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Measures Metier on this machine.")
    parser.add_argument("part", nargs="?", default="all", choices=(*PARTS, "all"), help="all: without peers and engine")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of load for each figure, over all rounds; default 4"
    )
    parser.add_argument("--rounds", type=int, help=f"default {path.ROUNDS}, of peers {comparison.ROUNDS}")
    parser.add_argument("--threads", type=int, default=cores(), help="of an engine; default: one for each core")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are stored")
    parser.add_argument("--readme", action="store_true", help="measure nothing; write the newest figures to README.md")
    return parser.parse_args()


async def measure(options: argparse.Namespace, screen: Console) -> Report:
    """One part, or all but the peers and the engines one after the other."""
    report = Report(machine=machine.describe())
    if options.part in ("start", "memory", "all"):
        report = await measure_teams(report, options.part, screen)
    with screen.status("") as status:
        if options.part in ("path", "all"):
            found = await path.measure(options.seconds, options.rounds or path.ROUNDS, status.update)
            report = msgspec.structs.replace(report, path=found)
        if options.part in ("elastic", "all"):
            report = msgspec.structs.replace(report, elastic=await elastic.measure(status.update))
        if options.part in ("door", "all"):
            report = msgspec.structs.replace(report, door=await door.measure(options.seconds, status.update))
        if options.part == "peers":
            peers = await comparison.measure(options.seconds, options.rounds or comparison.ROUNDS, status.update)
            report = msgspec.structs.replace(report, peers=peers)
        if options.part == "engine":
            decoders = await engines.measure(options.rounds or engines.ROUNDS, options.threads, status.update)
            report = msgspec.structs.replace(report, engine=decoders)
    return report


async def measure_teams(report: Report, part: str, screen: Console) -> Report:
    """The report with how teams start, and what they hold."""
    with working(screen, "starting the trip team"):
        first, memory = await start.measure(TRIP, TEXT)
    if part != "memory":
        with working(screen, "starting the bench team"):
            second, _ = await start.measure(path.TEAM, ONE)
        report = msgspec.structs.replace(report, start={"trip": first, "bench": second})
    return report if part == "start" else msgspec.structs.replace(report, memory=memory)


def store(report: Report, part: str, folder: Path) -> Path:
    """Writes a report as JSON, named after its time, and returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.machine.date:%Y-%m-%dT%H%M%S}-{part}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return file


def newest(folder: Path) -> list[tuple[str, Report]]:
    """The newest figures of every part, each with its file's name."""
    wanted, found = set(PARTS), []
    for file in sorted(folder.glob("*.json"), reverse=True):
        report = msgspec.json.decode(file.read_bytes(), type=Report)
        new = {part: getattr(report, part) for part in wanted if getattr(report, part)}
        if new:
            found.append((file.name, Report(machine=report.machine, **new)))
            wanted -= set(new)
    return found


if __name__ == "__main__":
    sys.exit(main())
