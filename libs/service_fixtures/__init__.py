"""pytest fixtures that every team shares: async backends, and real PostgreSQL and Redis servers."""
