"""What nano adds to the command line: its suites."""
