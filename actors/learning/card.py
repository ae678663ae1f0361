"""The model card of an adapter: what its manifest says, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import manifest as manifests
from .manifest import Manifest


def finish(folder: Path, base: str, recipe: Any, begun: float, **known: Any) -> None:
    """Writes what is said of a run that ends now, with what `Manifest.of` takes."""
    write(Manifest.of(folder, base, recipe, begun, **known), folder)


def write(manifest: Manifest, folder: Path) -> None:
    """Writes the manifest with the hashes of what lies in the folder, and README.md."""
    manifest.write(folder)
    (folder / "README.md").write_text(text(manifests.read(folder)), encoding="utf-8")


def text(manifest: Manifest) -> str:
    """The card; the last run comes first."""
    return "\n".join(
        [
            "---",
            f"base_model: {manifest.base}",
            f"license: {_licence(manifest)}",
            "language: [en, fr]",
            "---",
            f"# {manifest.name}",
            "",
            f"A LoRA adapter of {manifest.base}, trained on {manifest.trained:%Y-%m-%d} by Metier's `actors/learning`.",
            "",
            "## Data",
            "",
            *_runs(manifest),
            "",
            "The test is of the same making as what was learned from, so real requests do worse. Where sentences are",
            "made from templates, no template, and no city or title of that language, is in both.",
            "",
            *(
                ["To train it again (DIR holds the public sets):", "", f"    {manifest.command}", ""]
                * bool(manifest.command)
            ),
            "## Held-out figures",
            "",
            *(f"- {name}: {value:g}" for name, value in manifest.metrics.items()),
            "",
            "## Files",
            "",
            *(f"- {name}: sha256 {digest}" for name, digest in manifest.files.items()),
            "",
        ]
    )


def _licence(manifest: Manifest) -> str:
    """What is made of share-alike data is shared alike, and so is what goes on from it."""
    if any("BY-SA" in part.licence for part in manifest.data):
        return "cc-by-sa-4.0"
    return _licence(manifest.start) if manifest.start else "apache-2.0"


def _runs(manifest: Manifest | None) -> list[str]:
    lines: list[str] = []
    while manifest is not None:
        lines += [
            f"- {part.name}: {part.examples} examples, {part.licence}, sha256 {part.sha256[:16]}"
            for part in manifest.data
        ]
        stopped = ", stopped before all were read" if "stopped_after_steps" in manifest.recipe else ""
        minutes = manifest.seconds / 60
        lines.append(
            f"  (seed {manifest.seed}, {manifest.steps} steps, {minutes:.0f} minutes on {manifest.device}{stopped})"
        )
        manifest = manifest.start
    return lines
