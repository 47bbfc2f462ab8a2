"""Recording what a real provider answers, as a scenario that can be replayed without it."""
