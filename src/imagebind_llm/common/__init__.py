"""What every room uses: files, settings, errors. No torch at import."""
