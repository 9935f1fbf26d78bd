"""`python -m host_tools` is the command `chargeflash`."""

from host_tools.cli import main

if __name__ == "__main__":
    main()
