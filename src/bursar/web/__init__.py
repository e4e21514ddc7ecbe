"""Serve the pages: plain HTML, rendered here, brought up to date by a few lines of script."""
