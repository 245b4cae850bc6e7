"""What an assistant can do beside answering in words."""
