from __future__ import annotations

from collections.abc import Iterator

import pytest

from tiling.contract import ExecutorContract
from tiling.engine import Executor, ProcessExecutor, SerialExecutor


class TestSerial(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return SerialExecutor()


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        with ProcessExecutor(2) as pool:
            yield pool
