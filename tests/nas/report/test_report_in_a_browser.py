"""Pages in headless Chromium, on a laptop and on a telephone, light and dark: nothing cut off, a quiet console."""

import json

import chromium
import made_runs
import pytest

from nas.report import write_report
from search_spaces import fusion_cells

pytestmark = pytest.mark.skipif(chromium.PROGRAM is None, reason="Chromium is not installed")

# Texts of a chart that leave its frame.
OUTSIDE = """
[...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  if (!frame.width) return [];
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 2 || box.right > frame.right + 2 || box.top < frame.top - 2
        || box.bottom > frame.bottom + 2;
  }).map(text => text.textContent);
})
"""


@pytest.fixture(scope="module")
def browser():
    with chromium.Chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = {kind: getattr(made_runs, kind)(folder / kind) for kind in ("training", "comparison", "gate", "pruning")}
    runs["search"] = made_runs.search(folder / "search", space=fusion_cells("tiny", 8, made_runs.OPERATIONS))  # large
    return {kind: write_report(run) for kind, run in runs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["search", "training", "comparison", "gate", "pruning"])
def test_nothing_is_cut_off_and_the_console_is_quiet(browser, pages, kind, width):
    browser.messages.clear()
    browser.open(pages[kind], width=width, dark=width == 390)
    assert browser.run("innerWidth") == width and browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(chromium.CUT_OFF) == []
    assert browser.run(OUTSIDE) == []
    assert browser.run("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    shown = browser.run("[...document.querySelectorAll('.drawing')].filter(d => d.offsetWidth).length")
    assert shown == browser.run("document.querySelectorAll('.drawing').length") / 2  # wide, or narrow
    assert shown or kind == "gate"
    assert browser.messages == []


@pytest.mark.slow
def test_a_table_of_costs_needs_no_scrolling_on_a_small_window(browser, tmp_path):
    """Heads that could not wrap pushed the milliseconds out of a page 1000 px wide."""
    run = made_runs.comparison(tmp_path / "run")
    rows = json.loads((run / "table.json").read_text())
    rows = [row | {"label": f"fusion_cells_mobilenet_v2_{row['label']}", "latency_ms": 12.3} for row in rows]
    (run / "table.json").write_text(json.dumps(rows))
    browser.open(write_report(run), width=1000)
    tables = "[...document.querySelectorAll('#table .scroll')]"
    assert browser.run(f"{tables}.map(table => table.scrollWidth <= table.clientWidth)") == [True, True]


@pytest.mark.slow
def test_light_and_dark_can_both_be_read(browser, pages):
    backs = []
    for dark in (False, True):
        browser.open(pages["training"], width=1280, dark=dark)
        assert min(browser.run(chromium.CONTRAST)) >= 4.5  # WCAG 2, AA
        backs.append(browser.run("getComputedStyle(document.body).backgroundColor"))
        ink = browser.run("getComputedStyle(document.querySelector('.charts text')).fill")
        assert ink == browser.run("getComputedStyle(document.body).color")
    assert backs[0] != backs[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["search", "training", "comparison", "gate", "pruning"])
def test_texts_of_charts_have_the_colours_of_the_page(browser, pages, kind):
    # A chart that leaves a text black hides it in the dark. On a patch of a heat map a text is black or white.
    browser.open(pages[kind], width=1280, dark=True)
    fills = browser.run(
        "[...document.querySelectorAll('.charts text')].filter(text => !text.closest('.charts').querySelector('image')"
        " && !/^[0-9]+$/.test(text.textContent)).map(text => [getComputedStyle(text).fill, text.textContent])"
    )
    assert fills and not [text for fill, text in fills if fill == "rgb(0, 0, 0)"]


@pytest.mark.slow
def test_on_a_telephone_a_caption_stands_below_its_table(browser, pages):
    browser.open(pages["comparison"], width=390)
    below = browser.run(
        "[...document.querySelectorAll('caption')].map(caption => caption.getBoundingClientRect().top"
        " >= caption.parentElement.querySelector('tbody').getBoundingClientRect().bottom)"
    )
    assert below and all(below)
