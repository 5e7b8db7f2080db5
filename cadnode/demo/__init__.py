"""The demo: two real exams sent as a modality would, to a real node and a real archive."""
