"""Model bundles and the classifiers that run them."""
