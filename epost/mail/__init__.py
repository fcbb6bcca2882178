"""Values of the domain: addresses, replies, envelopes, queue entries, routes. Standard library only, no I/O."""
