"""Take the README's pictures of the app with one command: `python docs/screenshots.py`.

It runs the demonstration with three rounds that the truth answers, starts one more round so that
images wait, opens each page in Debian's Chromium at 1280 x 720 and writes docs/images/PAGE.png,
and PAGE-dark.png with --dark. It takes three to four minutes. `--workspace DIR` keeps the
workspace, and takes one that is there already as it is.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from curation import workspace as workspaces
from curation.workspace import Project
from ui import demo, servers, wiring

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"overview": "", "label": "label", "images": "images", "rounds": "rounds"}
SIZE: ViewportSize = {"width": 1280, "height": 720}
ROUNDS = 3
MOST_BYTES = 250_000


def main() -> None:
    """Reads the options, starts the servers and takes the pictures."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--workspace", type=Path)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options.add_argument("--dark", action="store_true", help="in the dark theme as well")
    chosen = options.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("No chromium on this machine: apt-get install chromium")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="labelloop-pictures-") as made:
        project = prepare(chosen.workspace or Path(made) / "catalogue")
        with (
            servers.start(project.workspace, tell=print) as running,
            sync_playwright() as playwright,
        ):
            if not wiring.status(project)["waiting"]:
                wiring.run_round(project, budget=demo.BUDGET)
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            take(browser, running.app_url, chosen.out, scheme="light")
            if chosen.dark:
                take(browser, running.app_url, chosen.out, scheme="dark")
            browser.close()


def prepare(folder: Path) -> Project:
    """The demonstration's project after its rounds, made anew where it is not there yet."""
    if not (folder / workspaces.SETTINGS).is_file():
        list(demo.with_oracle(folder, rounds=ROUNDS, tell=print))
    return workspaces.project(workspaces.open(folder))


def take(browser: Browser, url: str, out: Path, *, scheme: Literal["light", "dark"]) -> None:
    """Writes one picture of each page."""
    context = browser.new_context(viewport=SIZE, color_scheme=scheme)
    tab = context.new_page()
    for name, path in PAGES.items():
        tab.goto(f"{url}/{path}")
        settle(tab)
        picture = out / f"{name}{'-dark' if scheme == 'dark' else ''}.png"
        tab.screenshot(path=picture)
        with Image.open(picture) as drawn:
            drawn.convert("RGB").save(picture, optimize=True)
        size = picture.stat().st_size
        print(f"{picture.name}: {size:,} bytes")
        if size > MOST_BYTES:
            sys.exit(f"{picture} is larger than {MOST_BYTES:,} bytes.")
    context.close()


def settle(tab: Page) -> None:
    """Waits until a page is drawn and stays as it is."""
    tab.get_by_role("heading", level=1).wait_for()
    tab.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
    tab.wait_for_timeout(3000)  # charts and pictures fade in


if __name__ == "__main__":
    main()
