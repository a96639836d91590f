"""What the HTTP side offers: as OpenAPI for programs, and as a page for people."""

from typing import Any


def description() -> dict[str, Any]:
    """x"""
    return {}


def page(description: dict[str, Any]) -> str:
    """x"""
    return ""
