"""Two tools of an office team: plain typed functions."""

import msgspec

SHELVES = {"envelopes": 12, "staples": 3, "printer paper": 40, "coffee": 0}
PAPERS = ("Contract with Acme, 2024", "Minutes of the March meeting", "Invoice from Miller, May")


class Stock(msgspec.Struct):
    """What is left of an item. `str()` is what people read."""

    item: str
    count: int

    def __str__(self) -> str:
        return f"{self.count} of {self.item} left" if self.count else f"no {self.item} left"


def in_stock(item: str) -> Stock:
    """Counts an item in the store room."""
    known = next((name for name in SHELVES if name in item.lower()), item)
    return Stock(known, SHELVES.get(known, 0))


def find_papers(title: str) -> list[str]:
    """Finds documents by words of their title."""
    words = set(title.lower().split())
    return [paper for paper in PAPERS if words & set(paper.lower().replace(",", "").split())]
