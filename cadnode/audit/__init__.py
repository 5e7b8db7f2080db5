"""The audit trail: PS3.15 Annex A messages by syslog."""
