"""`python -m gateway`."""

from gateway.command import main

if __name__ == "__main__":
    main()
