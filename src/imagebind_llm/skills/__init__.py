"""What an assistant can do beside answering in words: use tools, hold dialogs that last."""
