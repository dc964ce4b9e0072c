"""What people look at: a run's page, and contact sheets of drawings."""
