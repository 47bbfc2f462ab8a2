"""What must survive: users, threads, messages, runs and the log of every event that was sent."""
