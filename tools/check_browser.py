"""Lessons as a student meets them: in JupyterLab, in a browser (make check-browser).

Starts JupyterLab on a copy of the notebooks, opens a lesson in Chromium, runs all its cells, and
moves a slider or uploads scans with the keyboard alone. Then looks whether the pages of make
tutorial, and those of make site and make slides where their extras are installed, cut anything
off, on a screen and on a phone. Screenshots go to build/browser/. Not part of make test, which
needs no browser. Arguments are pytest's.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from xrdclass import rruff

ROOT = Path(__file__).resolve().parent.parent
SHOTS = ROOT / "build" / "browser"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SETTINGS = {
    # Cells out of sight stay in the page, so that their outputs can be looked at.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Lesson, sliders, and the keys that move the first slider.
LESSONS = [
    ("01_phases_and_patterns", 1, "ArrowRight"),
    ("02_simulation", 3, "ArrowLeft"),
    ("03_noise", 2, "ArrowRight"),
    ("07_limitations", 2, "ArrowRight"),
]
UPLOADS = ["06_rruff_evaluation", "08_unknowns"]


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="make check-browser installs it")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.fail(
            "No Chromium: install one (Debian: apt install chromium), or name it: CHROMIUM="
        )
    # Chromium's sandbox refuses to run as root, as in a container.
    options = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """``(address, token)`` of a JupyterLab that serves a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name, setting in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(setting), encoding="utf-8")
    port, token = free_port(), secrets.token_hex(16)
    environment = {
        **os.environ,
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
        f"--ServerApp.root_dir={folder / 'notebooks'}",
    ]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "log").read_text()[-2000:]
                time.sleep(0.5)
        else:
            pytest.fail("JupyterLab did not answer: " + (folder / "log").read_text()[-2000:])
        yield address, token
    finally:
        server.terminate()
        server.wait(30)


def run_all(page, lab, lesson):
    """Open a lesson and run all its cells; wait until the last one has run."""
    address, token = lab
    page.goto(f"{address}/lab/tree/{lesson}.ipynb?token={token}&reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector(".jp-NotebookPanel [data-status='idle'], .jp-mod-idle", timeout=60_000)
    page.get_by_role("menuitem", name="Edit", exact=True).click()
    page.get_by_role("menuitem", name="Clear Outputs of All Cells").click()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    # A prompt is [ ] before its cell has run, [*] while it runs; a folded solution may have none.
    done = """() => {
        const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
            .map(prompt => prompt.textContent.trim()).filter(text => text);
        const failed = document.querySelector('[data-mime-type="application/vnd.jupyter.error"]');
        return failed || (prompts.length > 5 && prompts.every(text => /^\\[\\d+\\]:$/.test(text)));
    }"""
    page.wait_for_function(done, timeout=240_000)


def errors(page):
    """The texts of all error outputs and of all that was written to stderr."""
    kinds = ("application/vnd.jupyter.error", "application/vnd.jupyter.stderr")
    return [t for k in kinds for t in page.locator(f'[data-mime-type="{k}"]').all_inner_texts()]


@contextlib.contextmanager
def opened(browser, lab, lesson):
    """The page of a lesson after all its cells ran; complains of errors, then and at the end."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    console = []
    page.on("console", lambda m: console.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda problem: console.append(str(problem)))
    # From the start: asked for with the key press, Chromium may learn too late to hand it over.
    page.on("filechooser", lambda chooser: None)
    SHOTS.mkdir(parents=True, exist_ok=True)
    try:
        run_all(page, lab, lesson)
        assert not errors(page)
        yield page
        assert not errors(page)
        assert not [text for text in console if "widget" in text.lower()], console
    finally:
        page.screenshot(path=SHOTS / f"{lesson}-end.png")
        page.close()


def reach_by_tab(page, target):
    """Press Tab, from the cell that the target is in, until the target has the focus."""
    page.locator(".jp-CodeCell", has=target).evaluate("cell => cell.focus()")
    for _ in range(5):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    pytest.fail("Tab does not lead there.")


CHANGED = "(was) => document.querySelector('.widget-html img').src !== was"


def first_move(page, key, shown):
    """Press a key until the figure answers: the page may not listen at once."""
    from playwright.sync_api import TimeoutError

    for _ in range(10):
        page.keyboard.press(key)
        with contextlib.suppress(TimeoutError):
            page.wait_for_function(CHANGED, arg=shown, timeout=2000, polling=5)
            page.wait_for_timeout(2000)  # answers to earlier presses that came late
            return
    pytest.fail("The figure does not follow the key.")


@pytest.mark.parametrize(("lesson", "count", "key"), LESSONS, ids=[row[0] for row in LESSONS])
def test_lesson_runs_and_its_sliders_move_the_figure(browser, lab, lesson, count, key):
    with opened(browser, lab, lesson) as page:
        image = page.locator(".jupyter-widgets.widget-html img")
        image.wait_for(timeout=30_000)
        image.scroll_into_view_if_needed()
        handles = page.locator(".jupyter-widgets .noUi-handle")
        assert handles.count() == count
        page.screenshot(path=SHOTS / f"{lesson}-before.png")

        before, alt = image.get_attribute("src"), image.get_attribute("alt")
        reach_by_tab(page, handles.first)
        first_move(page, key, before)
        seconds = []
        for _ in range(4):
            shown = image.get_attribute("src")
            start = time.perf_counter()
            page.keyboard.press(key)
            page.wait_for_function(CHANGED, arg=shown, timeout=10_000, polling=5)
            seconds.append(time.perf_counter() - start)
        print(f"{lesson}: a move is answered within {min(seconds):.2f} to {max(seconds):.2f} s")
        assert image.get_attribute("src") != before and image.get_attribute("alt") != alt
        assert page.locator(".widget-html [role=status]").inner_text().strip()
        assert min(seconds) < 1, "with the browser's and this test's own share"
        page.screenshot(path=SHOTS / f"{lesson}-after.png")


@pytest.fixture
def scans(tmp_path):
    """Simulated scans by phase, in text formats, and a file that is none."""
    (tmp_path / "broken.xy").write_text("A letter, and no scan.")
    found = {"broken": tmp_path / "broken.xy"}
    for phase, name in (("anatase", "Prüfling 1.xy"), ("rutile", "x$2$.csv")):
        scan = rruff.stand_in(next(e for e in rruff.CATALOGUE if e.phase == phase)).scan
        columns = np.column_stack([scan.two_theta, scan.intensity])
        np.savetxt(tmp_path / name, columns, delimiter=" " if name.endswith("xy") else ",")
        found[phase] = tmp_path / name
    return found


@pytest.mark.parametrize("lesson", UPLOADS)
def test_lesson_answers_uploaded_scans(browser, lab, lesson, scans):
    with opened(browser, lab, lesson) as page:
        button = page.get_by_role("button", name="Choose scans to read")
        cell = page.locator(".jp-CodeCell", has=button)
        images, said = cell.locator(".widget-html img"), cell.locator("section")
        images.wait_for(timeout=30_000)  # the example; strict: there is one
        cell.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"{lesson}-before.png")

        def upload(*names):
            reach_by_tab(page, button)
            with page.expect_file_chooser() as chooser:
                page.keyboard.press("Enter")
            start = time.perf_counter()
            chooser.value.set_files([scans[name] for name in names])
            for name in names:
                said.filter(has_text=f"{scans[name].name}: ").wait_for(timeout=60_000)
            images.last.scroll_into_view_if_needed()
            print(f"{lesson}: {names} answered within {time.perf_counter() - start:.2f} s")

        example = images.get_attribute("src")
        upload("anatase")
        assert images.get_attribute("src") != example
        assert "Prüfling 1.xy: anatase (" in images.get_attribute("alt")
        assert "Prüfling 1.xy: anatase (" in said.inner_text()
        assert "states no wavelength" in said.inner_text()
        with page.expect_download() as download:
            cell.get_by_role("link", name="Save this as a report").click()
        assert "Prüfling 1.xy: anatase (" in download.value.path().read_text(encoding="utf-8")
        page.screenshot(path=SHOTS / f"{lesson}-after.png")

        upload("rutile", "broken")
        assert images.count() == 1 and said.count() == 2
        assert "x$2$.csv: rutile (" in said.first.inner_text()
        assert "no line of numbers" in said.last.inner_text()
        page.set_viewport_size({"width": 600, "height": 1000})
        images.scroll_into_view_if_needed()
        page.screenshot(path=SHOTS / f"{lesson}-narrow.png")
        fits = "e => e.clientWidth <= e.closest('.jp-OutputArea').clientWidth"
        assert cell.locator(".xrd").evaluate(fits), "What is said fits the window."


# Printed text and code that stick out of what shows them, where nobody can scroll to them.
CUT = """() => {
    document.querySelectorAll('details').forEach(fold => { fold.open = true; });
    const cut = [...document.querySelectorAll('pre')].filter(pre => {
        const box = pre.getBoundingClientRect();
        const right = Math.max(box.right, box.left + pre.scrollWidth);
        for (let e = pre; e !== document.body; e = e.parentElement) {
            if (right <= e.getBoundingClientRect().right + 1) continue;
            const how = getComputedStyle(e).overflowX;
            if (how !== 'visible') return how !== 'auto' && how !== 'scroll';
        }
        return right > innerWidth + 1;
    });
    const wide = document.documentElement.scrollWidth > innerWidth ? ['the page'] : [];
    return [...wide, ...cut.map(pre => pre.textContent.slice(0, 60))];
}"""
# Slides whose contents are larger than a slide.
OVER = """() => [...document.querySelectorAll('.slides section')].filter(slide => {
    slide.style.display = 'block';
    return slide.scrollHeight > 560 || slide.scrollWidth > 970;
}).map(slide => slide.textContent.trim().slice(0, 60))"""


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A folder with the pages of make tutorial, of make site and of make slides."""
    import nbformat
    from run_lessons import html

    folder = tmp_path_factory.mktemp("pages")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        page = html(nbformat.read(path, as_version=4), path.stem)
        (folder / f"{path.stem}.html").write_text(page, encoding="utf-8")
    for tool, package in (("site", "sphinx_book_theme"), ("slides", "sphinx_revealjs")):
        if importlib.util.find_spec(package):
            command = [sys.executable, ROOT / "tools" / tool / "build.py", "--out", folder / tool]
            subprocess.run(command, check=True)
    return folder


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_cut_nothing_off_and_load_nothing(browser, written, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("request", lambda r: failed.append(r.url) if r.url.startswith("http") else None)
    paths = [*written.glob("*.html"), *written.glob("site/notebooks/*.html")]
    for path in paths:
        page.goto(path.as_uri())
        assert not page.evaluate(CUT), path.relative_to(written)
    for path in written.glob("slides/*.html"):
        page.goto(path.as_uri())
        page.wait_for_function("() => window.Reveal && Reveal.isReady()")
        assert not page.evaluate(OVER), path.name
    assert not failed
    page.close()


DROP = """(zone, text) => {
    const data = new DataTransfer();
    data.items.add(new File([text], 'dropped.xy'));
    zone.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
}"""


def test_the_app_answers_what_is_dropped_on_it(browser, scans):
    """Ready within seconds; scans and wrong files, a report to keep, a narrow window."""
    pytest.importorskip("voila", reason="make app installs it")
    port = free_port()
    command = [sys.executable, "-m", "voila", "tools/app.ipynb", "--no-browser", f"--port={port}"]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    page = browser.new_page(viewport={"width": 400, "height": 900})
    try:
        for _ in range(60):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.5)
        start = time.perf_counter()
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_role("button", name="Choose scans to read").wait_for(timeout=60_000)
        print(f"the app is ready after {time.perf_counter() - start:.1f} s")
        assert page.locator("pre").count() == 0, "No code is seen."
        for name, said in (("anatase", "anatase ("), ("broken", "not read")):
            text = scans[name].read_text(encoding="utf-8")
            page.locator("[ondrop]").evaluate(DROP, text)
            page.locator("h2", has_text=f"dropped.xy: {said}").wait_for(timeout=60_000)
        with page.expect_download() as download:
            page.get_by_role("link", name="Save this as a report").click()
        assert "no line of numbers" in download.value.path().read_text(encoding="utf-8")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.screenshot(path=SHOTS / "app.png")
    finally:
        page.close()
        server.terminate()
        server.wait(30)


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", *sys.argv[1:]]))
