"""What every object store must do, as tests; for the stores here and for those of others. Needs pytest and hypothesis.

::

    class TestMyStore(StoreContract):
        def open_store(self, folder: Path) -> ObjectStore:
            return MyStore(folder / "mine")


    TestMyStoreHistory = history_machine(lambda folder: MyStore(folder / "mine"))
    TestMyStoreBranches = branches_machine(lambda folder: MyStore(folder / "mine"))
"""

from tim.store.contract.branches import branches_machine
from tim.store.contract.changes import Changes
from tim.store.contract.columns import Columns
from tim.store.contract.conditions import Conditions
from tim.store.contract.history import history_machine
from tim.store.contract.lines import Lines
from tim.store.contract.origins import Origins
from tim.store.contract.queries import Queries
from tim.store.contract.times import Times

__all__ = ["StoreContract", "branches_machine", "history_machine"]


class StoreContract(Changes, Times, Queries, Conditions, Columns, Origins, Lines):
    """Inherit, define ``open_store``, and pytest does the rest."""
