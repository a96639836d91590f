"""The engines by name, imported only when one is asked for.

Standard library only, so the models can be inspected without any package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from lanscribe.config import EngineSettings
    from lanscribe.engines.base import Engine

ENGINES = {
    "embedded": "lanscribe.engines.embedded.engine:EmbeddedEngine",
    "vllm": "lanscribe.engines.vllm:VllmEngine",
    "fake": "lanscribe.engines.fake:FakeEngine",
}
"""Engine name -> "module:Class". The class has a blocking `load(settings: EngineSettings)`. What
else an engine needs, such as the server it talks to, is a keyword argument."""


def chosen(name: str, *, has_vllm: bool) -> str:
    """The engine that `name`, possibly auto, means on a machine with or without vLLM."""
    if name != "auto":
        return name
    return "vllm" if has_vllm else "embedded"


def load_engine(settings: "EngineSettings", **more: object) -> "Engine":
    """Load the engine that `settings` names, not auto. Blocks; raises EngineUnavailable."""
    module_name, class_name = ENGINES[settings.name].split(":")
    engine_class = getattr(import_module(module_name), class_name)
    return cast("Engine", engine_class.load(settings, **more))
