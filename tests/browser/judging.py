"""A judge of accessibility: axe-core, in Chromium."""

from importlib import resources

from tests.browser.live_page import Runs

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def violations(page: Runs) -> list[tuple[str, list[str]]]:
    """What axe has against a page: the rule, and the elements that break it."""
    page.run(f"() => {{ {AXE}\n}}")
    found = page.run("async () => (await axe.run()).violations")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
