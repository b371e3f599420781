"""Looks at the live page as people do: see `.ci/page-check`, which starts it."""

import io
import os
import pathlib
import shutil
import sys
import time

import axe_playwright_python
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

WIDTHS = [390, 1280, 1920]
VIEWS = ["sale", "order", "holder", "quorum", "report"]
AXE = pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js"
WITHIN_SECONDS = 60


class Page:
    def __init__(self, url, width, height, dark):
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_script_timeout(WITHIN_SECONDS)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.url, self.width, self.height = url, width, height
        self.size(height)

    def size(self, height):
        metrics = {"width": self.width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, view):
        self.driver.get(f"{self.url}#{view}")
        self.until("document.getElementById('connection').textContent.startsWith('In the databases')")

    def until(self, expression):
        WebDriverWait(self.driver, WITHIN_SECONDS).until(lambda driver: driver.execute_script(f"return Boolean({expression})"))

    def click(self, selector):
        self.until(f"document.querySelector('{selector}')?.disabled === false")
        self.driver.execute_script(f"document.querySelector('{selector}').click()")

    def picture(self, file=None):
        """The whole page, or the window without a file."""
        if file is None:
            return Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        whole = self.driver.execute_script("return document.documentElement.scrollHeight")
        self.size(min(max(whole, self.height), 4000))
        self.driver.save_screenshot(str(file))
        self.size(self.height)

    def defects(self):
        self.driver.execute_script(AXE.read_text())
        findings = self.driver.execute_async_script(
            "const done = arguments[0];"
            "axe.run(document, { iframes: false }).then((result) => done(result.violations.map((found) =>"
            " `${found.impact}: ${found.help}: ${found.nodes[0].html.slice(0, 120)}`)))"
        )
        wide, window = self.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        if wide > window:
            findings.append(f"the page is {wide} pixels wide in a window of {window}")
        findings += [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return findings


def something_to_see(page):
    """A sale with a pause, one order, one held write, a lost quorum."""
    page.open("sale")
    page.click("#sell")
    page.until("Number(document.querySelectorAll('.shelf')[1].querySelector('[data-number=sold]').textContent) > 5")
    page.click("#pause")
    page.until("!document.getElementById('continue').disabled || !document.getElementById('sell').disabled")
    time.sleep(2)  # longer than the lease: this is what is to be seen
    if page.driver.execute_script("return !document.getElementById('continue').disabled"):
        page.click("#continue")
    page.until("document.getElementById('events').innerText.includes('The sale ended')")
    for view in ["order", "holder"]:
        page.open(view)
        page.click(f"#view-{view} .trace")
        page.until(f"document.querySelector('#view-{view} .panel')")
    page.open("quorum")
    page.click(".node:nth-child(5) [data-fault=kill]")
    page.click(".node:nth-child(4) [data-fault=slow]")
    page.click(".node:nth-child(3) [data-fault=cut]")
    page.click("#try")
    page.until("document.getElementById('quorum-answer').textContent !== ''")


def look(page, file):
    defects = page.defects()
    page.picture(file)
    print(f"{file.stem:28} {len(defects)} findings", flush=True)
    for defect in defects:
        print(f"    {defect}")
    return len(defects)


def check(url, folder):
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for dark in [False, True]:
        for width in WIDTHS:
            page, scheme = Page(url, width, 1080 if width == 1920 else 900, dark), "dark" if dark else "light"
            if (width, dark) == (WIDTHS[0], False):
                something_to_see(page)
            for view in VIEWS:
                page.open(view)
                if view in ("order", "holder"):
                    page.until(f"document.querySelector('#view-{view} .panel')")
                if view == "sale":
                    page.click("#audit")
                    page.until("!document.getElementById('statement').hidden")
                failed += look(page, folder / f"{view}-{width}-{scheme}.png")
            page.driver.get(f"{url}report/")
            if page.driver.title.startswith("Does it oversell?"):
                failed += look(page, folder / f"report-alone-{width}-{scheme}.png")
            page.driver.quit()
    print(f"{len(list(folder.glob('*.png')))} pictures, {failed} findings")
    return 1 if failed else 0


def visit(url):
    """A stack in containers: a sale, a held write, and the report of the run."""
    page = Page(url, 1280, 900, False)
    page.open("sale")
    page.click("#sell")
    page.until("Number(document.querySelectorAll('.shelf')[1].querySelector('[data-number=sold]').textContent) > 0")
    page.click("#pause")
    page.until("document.getElementById('replicas').innerText.includes('holds a write')")
    page.click("#continue")
    page.until("document.getElementById('events').innerText.includes('The sale ended')")
    page.until("Number(document.querySelector('.shelf [data-number=oversold]').textContent) > 0")
    page.open("holder")
    page.click("#view-holder .trace")
    page.until("document.querySelector('#view-holder .banner')?.textContent.includes('was refused')")
    page.open("quorum")
    page.click("#try")
    page.until("document.getElementById('quorum-nodes').textContent.includes('granted token')")
    # Nodes of another program can be paused, and go on.
    for number in (3, 4, 5):
        page.click(f".node:nth-child({number}) [data-fault=pause]")
    page.until("document.getElementById('quorum-verdict').textContent.startsWith('2 of 5')")
    page.click("#try")
    page.until("document.getElementById('quorum-answer').textContent.includes('lock_quorum_unavailable')")
    page.click("#heal")
    page.until("document.getElementById('quorum-verdict').textContent.startsWith('5 of 5')")
    page.open("report")
    page.until("document.getElementById('report-verdict').textContent.startsWith('PASSED')")
    defects = page.defects()
    page.driver.quit()
    print("\n".join(["a sale, a held write, a quorum granted and lost, and the report", *defects]))
    return 1 if defects else 0


def record(url, file):
    """A sale under both strategies, a pause, and the refused write: a frame for every change that can be seen."""
    page = Page(url, 1180, 700, False)
    page.open("sale")
    frames = [page.picture()]
    page.click("#sell")
    began, paused, resumed = time.monotonic(), None, None
    while not page.driver.execute_script("return document.getElementById('events').innerText.includes('The sale ended')"):
        frames.append(page.picture())
        elapsed = time.monotonic() - began
        if paused is None and elapsed > 1.2:
            page.click("#pause")
            paused = elapsed
        stopped = page.driver.execute_script("return !document.getElementById('continue').disabled")
        if stopped and resumed is None and elapsed > (paused or 0) + 3:
            page.click("#continue")
            resumed = elapsed
        if elapsed > WITHIN_SECONDS:
            sys.exit("page-check: the sale did not end")
    time.sleep(0.6)
    last = page.picture()
    page.driver.quit()
    # At most fifty frames: the file is checked in.
    step = max(1, len(frames) // 50)
    frames = [frame.resize((944, 560), Image.LANCZOS) for frame in [*frames[::step], last]]
    durations = [160] * (len(frames) - 1) + [3500]
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=62, method=6)
    print(f"{file}: {len(frames)} frames, {os.path.getsize(file) // 1024} KiB")
    return 0


if __name__ == "__main__":
    address = sys.argv[1].rstrip("/") + "/"
    if sys.argv[2] == "--record":
        sys.exit(record(address, sys.argv[3]))
    if sys.argv[2] == "--visit":
        sys.exit(visit(address))
    sys.exit(check(address, pathlib.Path(sys.argv[2])))
