"""The documentation is run, so that it stays true."""
