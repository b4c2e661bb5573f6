"""The engine: plans become shards, shards run anywhere, what is finished is never done twice, and the result is published at once.

``tile`` is the verb; ``convert`` goes from files to a folder in one step. Executors say where shards run.
"""

from tiling.engine.convert import ConvertReport, convert
from tiling.engine.executor import DaskExecutor, Executor, ProcessExecutor, SerialExecutor, default_workers
from tiling.engine.progress import Listener, Progress
from tiling.engine.run import TileReport, tile
from tiling.engine.update import UpdateReport, update

__all__ = [
    "ConvertReport", "DaskExecutor", "Executor", "Listener", "ProcessExecutor", "Progress", "SerialExecutor", "TileReport", "UpdateReport", "convert",
    "default_workers", "tile", "update",
]  # fmt: skip
