"""vLLM and the engine that talks to it: `serve` runs them when the engine is vllm."""

import asyncio
from collections.abc import Callable, Mapping

from lanscribe.config import Settings
from lanscribe.engines import load_engine
from lanscribe.engines.base import Engine
from lanscribe.engines.vllm import VllmServer
from lanscribe.vllm import command as vllm_command
from lanscribe.vllm.process import Serving, VllmProcess, Watch, watch_elsewhere
from lanscribe.vllm.restarts import RestartSchedule


class VllmService:
    """Keeps vLLM running, or watches one elsewhere, and makes the engine once vLLM serves.

    on_engine: called once, with the engine.
    on_loading: called with the reason why vLLM does not serve now; None when it serves.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        on_engine: Callable[[Engine], None],
        on_loading: Callable[[str | None], None],
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._on_engine = on_engine
        self._on_loading = on_loading
        self._engine: Engine | None = None
        self._why_down: str | None = None
        self._max_num_seqs = 0

    async def run(self) -> None:
        """Run until cancelled. Raises LanscribeError if vLLM cannot run here."""
        vllm = self._settings.vllm
        try:
            if vllm.url:
                key = self._environ.get(vllm_command.KEY_VARIABLE, "")
                watch = vllm_command.watch(vllm, key)
                await watch_elsewhere(watch, lambda state: self._changed(watch, state))
            else:
                launch = await asyncio.to_thread(vllm_command.launch, self._settings, self._environ)
                self._max_num_seqs = vllm_command.max_num_seqs(launch.command)
                watch = launch.watch
                process = VllmProcess(
                    launch, lambda state: self._changed(watch, state), RestartSchedule()
                )
                await process.run()
        finally:
            if self._engine is not None:
                await self._engine.close()

    def _changed(self, watch: Watch, state: Serving | str) -> None:
        self._why_down = state if isinstance(state, str) else None
        if isinstance(state, Serving) and self._engine is None:
            self._engine = load_engine(
                self._settings.engine.model_copy(update={"name": "vllm"}),
                server=self._server(watch, state),
            )
            self._on_engine(self._engine)
        self._on_loading(self._why_down)

    def _server(self, watch: Watch, serving: Serving) -> VllmServer:
        vllm = self._settings.vllm
        return VllmServer(
            url=watch.url,
            model=serving.model,
            max_model_len=serving.max_model_len,
            max_num_seqs=self._max_num_seqs,
            delay_s=vllm.delay_ms / 1000,
            api_key=watch.api_key,
            why_down=lambda: self._why_down,
        )
