"""Every setting: its name, type, default, range and meaning, in one place.

A setting is a field of one of the frozen table classes below; its docstring is its
documentation. Values come, each overruling the one before, from the default,
config/lanscribe.toml, config/local.toml, the environment (LANSCRIBE_TABLE_KEY) and the
command line.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


class EngineSettings(_Table):
    """What turns sound into text."""

    name: Literal["auto", "embedded", "fake"] = "auto"
    """The engine; auto takes the best one this machine can run."""
    model: Literal["base-en", "tiny-en"] = "base-en"
    """The embedded engine's model; tiny-en takes half the computing and errs more."""
    sessions: int = Field(default=0, ge=0, le=1000)
    """How many sessions run at once; 0 measures at start what the machine holds in real time."""
    threads: int = Field(default=0, ge=0, le=64)
    """Worker threads of the embedded engine; 0 is one for each core this process may use."""
