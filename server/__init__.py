"""HTTP: tiles out of the archive, the OGC API, the viewer's files, and who may have what.

``create_app(workspace)`` makes the ASGI application, ``serve(workspace)`` runs it, ``server.access`` makes and revokes keys. Nothing here
knows how tiles are built. Importing this package is cheap; its modules are not.
"""
