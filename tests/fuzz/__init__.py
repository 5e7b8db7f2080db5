"""Coverage-guided fuzzing of everything that parses received bytes or files: `make fuzz`."""
