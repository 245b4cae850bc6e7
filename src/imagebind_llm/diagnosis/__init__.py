"""Looking at folders without loading them: what they hold, whether it belongs together, what it needs."""
