"""Writes the licences of everything in the binary to one file, each text once.

    licences.py TARGET OUT
"""

import sys
from pathlib import Path

import parts

LINE = "=" * 100


def main() -> None:
    target, out = sys.argv[1:]
    binary, found = parts.find(target)
    third = [part for part in found if not part.is_own]
    holders: dict[str, list[parts.Part]] = {}
    for part in third:
        for text in part.texts:
            holders.setdefault(text, []).append(part)
    sections = [f"{binary.name} {binary.version} contains these works. The text of each licence follows.\n"]
    sections.append("\n".join(f"{part.name} {part.version}: {part.licence}" for part in third) + "\n")
    for text, holding in holders.items():
        names = "\n".join(f"{part.name} {part.version}" for part in holding)
        sections.append(f"{LINE}\n{names}\n{LINE}\n\n{text}\n")
    Path(out).write_text("\n".join(sections))
    print(f"release: {Path(out).name}: {len(third)} works, {len(holders)} texts")


main()
