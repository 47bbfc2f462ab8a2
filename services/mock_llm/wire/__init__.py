"""The wire formats of the providers: what a request must look like, and how a plan becomes bytes."""
