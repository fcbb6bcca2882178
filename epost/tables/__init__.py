"""The .dat tables: text in, immutable tables out, every error with file and line."""
