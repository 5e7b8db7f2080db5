"""The ways to persons: mail and webhook."""
