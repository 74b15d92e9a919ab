"""`python -m pgface`."""

from pgface.cli import main

main()
