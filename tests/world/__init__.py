"""A disk that loses power, and what storage must keep on it."""
