"""The command `pgface`, and `python -m pgface`."""

import gc

from pgface.cli import main


def start() -> None:
    """Run the command line in a process of its own.

    What a command imports lives as long as its process. To look for garbage in it again and again takes a fifth of a
    short command's processor time, so that begins with the command itself (`pgface.cli.commands`).
    """
    gc.disable()
    try:
        main()
    finally:
        gc.freeze()  # or Python would look through everything once more before it ends


if __name__ == "__main__":
    start()
