"""Take the README's pictures of the app: `python docs/screenshots.py --workspace DIR`.

Starts the app on that workspace, opens each page in Debian's Chromium at 1280 x 720 and writes
docs/images/PAGE.png, and PAGE-dark.png with --dark. `labelloop demo` makes a workspace worth
showing.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from playwright.sync_api import Browser, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"overview": "", "label": "label", "images": "images", "rounds": "rounds"}
SIZE: ViewportSize = {"width": 1280, "height": 720}


def main() -> None:
    """Reads the options, starts the app and takes the pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workspace", type=Path, required=True)
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    options.add_argument("--dark", action="store_true", help="in the dark theme as well")
    chosen = options.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("No chromium on this machine: apt-get install chromium")
    chosen.out.mkdir(parents=True, exist_ok=True)
    app, url = start_app(chosen.workspace.resolve())
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            take(browser, url, chosen.out, scheme="light")
            if chosen.dark:
                take(browser, url, chosen.out, scheme="dark")
            browser.close()
    finally:
        app.terminate()
        app.wait(timeout=20)


def start_app(workspace: Path) -> tuple[subprocess.Popen[bytes], str]:
    """The running app and its address, once it answers."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = subprocess.Popen(
        [
            *(sys.executable, "-m", "streamlit", "run", str(ROOT / "ui" / "web" / "app.py")),
            *("--server.port", str(port)),
        ],
        env={**os.environ, "LABELLOOP_WORKSPACE": str(workspace), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    direct = build_opener(ProxyHandler({}))
    for _ in range(300):
        try:
            direct.open(f"{url}/_stcore/health", timeout=2).close()
            return app, url
        except URLError:
            time.sleep(0.2)
    app.terminate()
    sys.exit("The app did not answer within a minute.")


def take(browser: Browser, url: str, out: Path, *, scheme: Literal["light", "dark"]) -> None:
    """Writes one picture of each page."""
    context = browser.new_context(viewport=SIZE, color_scheme=scheme)
    tab = context.new_page()
    for name, path in PAGES.items():
        tab.goto(f"{url}/{path}")
        tab.get_by_role("heading", level=1).wait_for()
        tab.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
        tab.wait_for_timeout(2000)  # charts and pictures fade in
        suffix = "-dark" if scheme == "dark" else ""
        tab.screenshot(path=out / f"{name}{suffix}.png")
    context.close()


if __name__ == "__main__":
    main()
