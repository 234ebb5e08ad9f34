"""Stand-ins for models, policies, tasks and devices."""
