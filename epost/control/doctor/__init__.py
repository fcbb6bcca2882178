"""The command C{epost doctor}, and a module for each kind of thing that it looks at."""
