"""What keeps the repository in order; nothing here is installed with the node."""
