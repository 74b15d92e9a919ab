"""The command `pgface`, and `python -m pgface`."""

import gc

from pgface.cli import main


def start() -> None:
    """Run the command line as the main program.

    Imported modules never become garbage, but a search for garbage in them takes a fifth of a short command's processor
    time. So garbage collection starts only after the imports, in `pgface.cli.commands`.
    """
    gc.disable()
    try:
        main()
    finally:
        gc.freeze()  # or Python would collect garbage once more at exit


if __name__ == "__main__":
    start()
