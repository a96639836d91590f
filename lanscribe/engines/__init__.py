"""The engines by name, imported only when one is asked for."""

from importlib import import_module
from typing import cast

from lanscribe.config import EngineSettings
from lanscribe.engines.base import Engine

ENGINES = {
    "embedded": "lanscribe.engines.embedded:EmbeddedEngine",
    "fake": "lanscribe.engines.fake:FakeEngine",
}
"""Engine name -> "module:Class". The class has `load(settings: EngineSettings)`, blocking."""


def load_engine(settings: EngineSettings) -> Engine:
    """Load the engine that `settings` names. Blocks; raises EngineUnavailable."""
    name = "embedded" if settings.name == "auto" else settings.name
    module_name, class_name = ENGINES[name].split(":")
    engine_class = getattr(import_module(module_name), class_name)
    return cast(Engine, engine_class.load(settings))
