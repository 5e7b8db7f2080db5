"""Celery, which carries job numbers to workers; the only place that knows it (extra `celery`)."""
