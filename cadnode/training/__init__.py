"""Training and honest measuring of the patch model on a site's own images."""
