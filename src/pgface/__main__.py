"""The command `pgface`, and `python -m pgface`."""

import gc

from pgface.cli import main


def start() -> None:
    """Run the command line as the main program.

    Imported modules are never garbage. Searching them for garbage takes a fifth of a short command's processor time,
    so garbage collection starts only after the imports (`pgface.cli.commands`).
    """
    gc.disable()
    try:
        main()
    finally:
        gc.freeze()  # or Python would collect garbage once more at exit


if __name__ == "__main__":
    start()
