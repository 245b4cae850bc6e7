"""Dialogs that outlive the program: transcripts to go on from, pages to read."""
