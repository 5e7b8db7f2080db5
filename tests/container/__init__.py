"""The image without a container engine: its own steps in a bare Debian, its own settings beside a
real archive. Minutes long and for root alone; `make container` runs it, `make test` does not."""
