"""The sample catalogue and the script that builds it; see README.md."""
