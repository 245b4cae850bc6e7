"""From requests to answers: perception (media → conditions), the token engine, the assistant on top."""
