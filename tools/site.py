#!/usr/bin/env python3
"""Builds the site of the pages with mdBook, and checks it: every link within it leads to a page and an anchor of it, and a
reader's browser fetches nothing from elsewhere.

    tools/site.py MDBOOK TARGET     writes TARGET/site

docs/README.md is the list of pages: its headings are the parts of the site, and its rows the chapters. Pages that a chapter
links to, and that no row lists, follow at the end. Links to sources and folders lead to the repository.
"""

import html.parser
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "docs/README.md"
LINK = re.compile(r'(\]\(|\bsrc=")([^)\s"]+)')
FOREIGN = re.compile(r"^(https?:|mailto:|/)")


def main(mdbook, target):
    work = target / "site-pages"
    site = target / "site"
    shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(site, ignore_errors=True)
    parts = listed()
    pages = with_linked(page for _, chapters in parts for page in chapters)
    for page in pages:
        stage(page, pages, work)
    (work / "src/SUMMARY.md").write_text(summary(parts, pages))
    shutil.copy(ROOT / "docs/book.toml", work / "book.toml")
    subprocess.run([mdbook, "build", work, "--dest-dir", site], check=True)
    # The pages as they are, for programs: llms.txt links to them.
    for page in [*pages, ROOT / "llms.txt"]:
        copy(page, site)
    dead, count = check(site)
    for line in dead:
        print(f"site: {line}", file=sys.stderr)
    if dead:
        sys.exit(1)
    print(f"site: {len(pages)} pages, {count} links checked: {site}/index.html")


# === the pages ===


def listed():
    """The parts of the list, each with its pages in order."""
    parts = [("", [ROOT / "README.md"])]
    for line in LIST.read_text().splitlines():
        if line.startswith("## "):
            parts.append((line[3:], []))
        elif line.startswith("| ["):
            page = file_of(LIST, LINK.search(line)[2])
            parts[-1][1].append(page)
            # The pages beside a list of its own: errors, runbooks, decisions.
            if page.name == "README.md" and page.is_relative_to(ROOT / "docs"):
                parts[-1][1].extend(sorted(beside for beside in page.parent.glob("*.md") if beside != page))
    return parts


def with_linked(pages):
    """The pages, and those that they link to, as a dict in the order in which they are found."""
    found = dict.fromkeys(pages)
    queue = list(found)
    for page in queue:
        for target in links(page.read_text()):
            linked = None if FOREIGN.match(target) else file_of(page, target.partition("#")[0])
            if linked and linked.suffix == ".md" and linked not in found:
                found[linked] = None
                queue.append(linked)
    return found


def file_of(page, target):
    """The file that a link of a page leads to; of a folder its README, if there is one."""
    path = (page.parent / target).resolve() if target else page
    readme = path / "README.md"
    return readme if readme.is_file() else path


def lines(text):
    """Each line, and whether it is text, not code."""
    in_code = False
    for line in text.splitlines(keepends=True):
        is_fence = line.lstrip().startswith("```")
        in_code ^= is_fence
        yield line, not (in_code or is_fence)


def replaced(line, replace):
    """The line with each link outside of code spans replaced. (A span as the text of a link is no harm.)"""
    spans = re.split(r"(`[^`]*`)", line)
    return "".join(span if span.startswith("`") else LINK.sub(replace, span) for span in spans)


def links(text):
    found = []
    for line, is_text in lines(text):
        if is_text:
            replaced(line, lambda link: found.append(link[2]) or link[0])
    return found


def title(page):
    heading = next(line[2:] for line in page.read_text().splitlines() if line.startswith("# "))
    return heading.replace("[", "").replace("]", "")


# === the book ===


def staged(page):
    """The path of a page in the book. mdBook makes index.html of index.md."""
    below = page.relative_to(ROOT)
    return below.with_name("index.md") if below.name == "README.md" else below


def stage(page, pages, work):
    """Writes a page to the book, its links as they are there."""
    repository = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["repository"]

    def moved(link):
        target, mark, anchor = link[2].partition("#")
        path = file_of(page, target)
        if FOREIGN.match(link[2]) or not target:
            return link[0]
        if path in pages:
            to = os.path.relpath(staged(path), staged(page).parent)
        elif path.suffix in {".svg", ".png"}:
            copy(path, work / "src")
            to = target
        else:
            kind = "tree" if path.is_dir() else "blob"
            to = f"{repository}/{kind}/main/{path.relative_to(ROOT)}"
        return link[1] + to + mark + anchor

    text = "".join(replaced(line, moved) if is_text else line for line, is_text in lines(page.read_text()))
    file = work / "src" / staged(page)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def copy(file, folder):
    to = folder / file.relative_to(ROOT)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, to)


def summary(parts, pages):
    def chapter(page, depth=0):
        return f"{'  ' * depth}- [{title(page)}]({staged(page)})\n"

    text = "# Summary\n"
    rest = dict(pages)
    for name, chapters in parts:
        text += f"\n# {name}\n\n" if name else "\n"
        owner = None
        for page in chapters:
            is_beside = owner is not None and page.parent == owner.parent
            text += chapter(page, depth=int(is_beside))
            owner = owner if is_beside else page if page.name == "README.md" and name else None
            rest.pop(page, None)
    return text + "\n# Further pages\n\n" + "".join(chapter(page) for page in sorted(rest))


# === the check ===


class Html(html.parser.HTMLParser):
    """The links and anchors of a file, and what a browser fetches with it."""

    def __init__(self, file):
        super().__init__()
        self.links, self.fetched, self.anchors = [], [], set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors.update(filter(None, (attrs.get("id"), attrs.get("name"))))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        elif tag in {"img", "script", "iframe", "source"} and attrs.get("src"):
            self.fetched.append(attrs["src"])
        elif tag == "link" and attrs.get("href"):
            self.fetched.append(attrs["href"])


def check(site):
    """The dead links of the site, and the number of all."""
    files = {file: Html(file) for file in site.rglob("*.html")}
    dead, count = [], 0
    for file, content in files.items():
        # mdBook serves it for any path, with links from the root.
        if file.name == "404.html":
            continue
        name = file.relative_to(site)
        dead += [f"{name} fetches {url}" for url in content.fetched if FOREIGN.match(url)]
        for link in content.links + content.fetched:
            if FOREIGN.match(link):
                continue
            count += 1
            target, _, anchor = link.partition("#")
            path = (file.parent / target).resolve() if target else file
            if not path.is_file():
                dead.append(f"{name}: {link}: no such file")
            elif anchor and anchor not in files[path].anchors:
                dead.append(f"{name}: {link}: no such anchor")
    return dead, count


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
