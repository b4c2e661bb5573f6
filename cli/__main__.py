"""``python -m cli`` is ``tim``."""

from cli import main

main()
