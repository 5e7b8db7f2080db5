"""The console: what persons see in a browser, and the API that does the same for programs.

One package for each feature: `pages(console)` are its HTML pages, `api(console)` the same as JSON,
`ports.py` what it asks of the node. `server.create_app` puts them together.
"""
