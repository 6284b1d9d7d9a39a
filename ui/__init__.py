"""The only place with faces: the command line, the app, jobs, and the wiring between packages."""
