"""A real browser for pages: headless Chromium, or a skip that says there is none."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000",
)  # fmt: skip
# what the page says of itself once everything is loaded; folded parts are unfolded first, so that
# their width counts
CHECK = """
<script>addEventListener("load", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const images = [...document.images];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  document.body.dataset.check = JSON.stringify({
    images: images.length,
    broken: images.filter((one) => !one.naturalWidth || !one.naturalHeight).length,
    unnamed: images.filter((one) => !one.alt).length,
    cards: document.querySelectorAll("article").length,
    scripts: document.scripts.length,
    title: document.title,
    overflow: wide,
    outside: performance.getEntriesByType("resource").map((one) => one.name)
      .filter((name) => !name.startsWith("data:")),
  });
});</script>
"""


@dataclass(frozen=True)
class Opened:
    """What a browser found."""

    check: dict
    console: list[str]
    dom: str


def browser() -> str:
    """Path of a Chromium, or skip."""
    found = os.environ.get("CHROME") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} on the path, CHROME is not set")
    return found


def open_page(html: str, folder: Path, *, width: int = 1280) -> Opened:
    """Load a page with the check added, and return what it says."""
    page = folder / "checked.html"
    page.write_text(html.replace("</body>", CHECK + "</body>"), encoding="utf-8")
    done = _run(page, folder, f"--window-size={width},1000", "--dump-dom")
    found = re.search(r'data-check="([^"]*)"', done.stdout)
    assert found, f"the page's script did not run: {done.stderr[-2000:]}"
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Opened(json.loads(unescape(found[1])), console, done.stdout)


def screenshot(html: str, folder: Path, *, width: int = 1280, height: int = 2000) -> Path:
    """A PNG of the top of the page."""
    page, picture = folder / "shown.html", folder / "shown.png"
    page.write_text(html, encoding="utf-8")
    _run(page, folder, f"--window-size={width},{height}", f"--screenshot={picture}")
    return picture


def _run(page: Path, folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    command = [browser(), *FLAGS, f"--user-data-dir={folder / 'profile'}", *more, page.as_uri()]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, errors="replace"
    )
