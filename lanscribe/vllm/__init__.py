"""vLLM as a process beside this one."""
