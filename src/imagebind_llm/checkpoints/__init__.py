"""Other people's files, and folders to give away: pull, convert, export, doctor."""
