"""A folder of the form of the Schema-Guided Dialogue set: two services, four turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

SERVICES = {
    "Ferries_1": {
        "slots": [
            {"name": "port", "description": "Port", "is_categorical": False, "possible_values": []},
            {"name": "day", "description": "Day", "is_categorical": False, "possible_values": []},
            {"name": "cabin", "description": "Cabin", "is_categorical": True, "possible_values": ["Inside", "Outside"]},
        ],
        "intents": [
            {
                "name": "FindFerry",
                "description": "Find a ferry",
                "required_slots": ["port", "day"],
                "optional_slots": {"cabin": "dontcare"},
            }
        ],
    },
    "Banks_1": {
        "slots": [{"name": "amount", "description": "Amount", "is_categorical": False, "possible_values": []}],
        "intents": [{"name": "Pay", "description": "Pay somebody", "required_slots": ["amount"], "optional_slots": {}}],
    },
}


def turn(text: str, service: str = "Ferries_1", intent: str = "FindFerry", **more: Any) -> dict[str, Any]:
    args, canonical = more.pop("args", {}), more.pop("canonical", None)
    return {
        "id": f"train/{text}/0",
        "utterance": text,
        "first_turn": True,
        "domain": service.partition("_")[0].lower(),
        "service": service,
        "call": {"intent": intent, "args": args},
        "call_canonical": canonical and {"intent": intent, "args": canonical},
    }


def write(folder: Path) -> Path:
    """Puts it into a folder that is there; returns that."""
    turns = [
        turn("A ferry from Calais on the 3rd, outside", args={"port": "calais", "day": "the 3rd", "cabin": "Outside"}),
        turn("I need a ferry"),
        turn("A ferry to nowhere", args={"port": "Dover"}),
        turn("Pay ten euros", "Banks_1", "Pay", args={"amount": "ten euros"}),
    ]
    (folder / "schemas_all_services.json").write_bytes(msgspec.json.encode(SERVICES))
    (folder / "train.jsonl").write_bytes(b"\n".join(msgspec.json.encode(each) for each in turns))
    return folder
