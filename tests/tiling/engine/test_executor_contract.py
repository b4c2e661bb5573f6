from __future__ import annotations

from tiling.contract import ExecutorContract
from tiling.engine import Executor, ProcessExecutor, SerialExecutor


class TestSerial(ExecutorContract):
    def open_executor(self) -> Executor:
        return SerialExecutor()


class TestProcesses(ExecutorContract):
    def open_executor(self) -> Executor:
        return ProcessExecutor(2)
