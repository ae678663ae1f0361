"""`make bench`: measures, prints, and stores what was measured.

python ops/bench/run.py [path|start|memory|door|all] [--seconds N] [--out DIR]
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
from metier.cluster.view import console, working  # noqa: E402
from metier.topics.errors import MetierError  # noqa: E402
from ops.bench import door, machine, path, start, tables  # noqa: E402
from ops.bench.figures import Report  # noqa: E402

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """The entry point."""
    parser = argparse.ArgumentParser(description="Measures Metier on this machine.")
    parser.add_argument("part", nargs="?", default="all", choices=("path", "start", "memory", "door", "all"))
    parser.add_argument("--seconds", type=float, default=10.0, help="of load for each contender; default 10")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures are stored")
    parser.add_argument("--readme", action="store_true", help="measure nothing; write the newest figures to README.md")
    options = parser.parse_args()
    if options.readme:
        tables.write_readme(newest(options.out))
        return 0
    screen = console()
    try:
        report = uvloop.run(measure(options.part, options.seconds, screen))
    except MetierError as error:
        screen.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    tables.show(screen, report)
    screen.print(f"stored in {store(report, options.part, options.out)}", markup=False, soft_wrap=True)
    return 0


async def measure(part: str, seconds: float, screen: Console) -> Report:
    """One part, or all of them one after the other."""
    report = Report(machine=machine.describe())
    if part in ("start", "memory", "all"):
        with working(screen, "starting the trip team"):
            first, memory = await start.measure(TRIP, TEXT)
        if part != "memory":
            with working(screen, "starting the bench team"):
                report = msgspec.structs.replace(
                    report, start={"trip": first, "bench": (await start.measure(path.TEAM, path.ONE))[0]}
                )
        if part != "start":
            report = msgspec.structs.replace(report, memory=memory)
    if part in ("path", "all"):
        with screen.status("") as status:
            report = msgspec.structs.replace(report, path=await path.measure(seconds, status.update))
    if part in ("door", "all"):
        with screen.status("") as status:
            report = msgspec.structs.replace(report, door=await door.measure(seconds, status.update))
    return report


def store(report: Report, part: str, folder: Path) -> Path:
    """Writes a report as JSON, named after its time, and returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.machine.date:%Y-%m-%dT%H%M%S}-{part}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    return file


def newest(folder: Path) -> list[tuple[str, Report]]:
    """The newest figures of every part, each with its file's name."""
    wanted, found = {"path", "start", "memory", "door"}, []
    for file in sorted(folder.glob("*.json"), reverse=True):
        report = msgspec.json.decode(file.read_bytes(), type=Report)
        new = {part: getattr(report, part) for part in wanted if getattr(report, part)}
        if new:
            found.append((file.name, Report(machine=report.machine, **new)))
            wanted -= set(new)
    return found


if __name__ == "__main__":
    sys.exit(main())
