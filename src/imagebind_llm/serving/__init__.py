"""A server: OpenAI's API and a web page in front of perception and a token engine."""
