"""What a report page says of itself, read as a person or a screen reader would."""

from typing import Final

import pytest
from playwright.sync_api import Page

TIMES: Final = "\N{MULTIPLICATION SIGN}"
OUTLINE: Final = """(() => {
  const {outlineStyle, outlineWidth} = getComputedStyle(document.activeElement);
  return [outlineStyle, parseFloat(outlineWidth)];
})()"""
EVERY_TITLE: Final = """(next, most) => {
  const title = () => document.getElementById('panel-title').textContent;
  const seen = [title()];
  for (let place = 0; place < most; place += 1) {
    next.click();
    seen.push(title());
  }
  return seen;
}"""
"""Titles of the panel, page by page."""
NAMELESS: Final = """
  [...document.querySelectorAll('button, input, [role=option], [role=listbox], [role=grid], [role=dialog]')]
    .filter(one => !one.getAttribute('aria-label') && !one.getAttribute('aria-labelledby') && !one.textContent.trim())
    .map(one => one.outerHTML.slice(0, 80))
"""


def chosen(page: Page) -> str:
    """What the timeline says is chosen."""
    label = page.evaluate(
        "document.getElementById(document.getElementById('timeline').getAttribute('aria-activedescendant'))"
        "?.getAttribute('aria-label') ?? ''"
    )
    return str(label)


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id"))


def level(page: Page) -> float:
    return float((page.locator("#zoom-level").text_content() or "").removesuffix(TIMES))


def tab_to(page: Page, element: str, *, most: int = 40) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page) == element:
            return
    pytest.fail(f"{element} is not within {most} steps of the Tab key")


def darkness(page: Page) -> float:
    """How dark the page is, from 0 to 1."""
    rgb = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)")
    return 1 - float(sum(rgb)) / (3 * 255)
