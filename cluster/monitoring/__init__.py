"""What a run tells while it goes on: phases, metrics, loggers, dashboards, status."""
