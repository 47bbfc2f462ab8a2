"""`python -m event_capture` is the command `streamproof`."""

from event_capture.command import main

if __name__ == "__main__":
    main()
