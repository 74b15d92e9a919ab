"""What the search costs and what it misses on this server, measured on synthetic galleries: `pgface bench`."""
