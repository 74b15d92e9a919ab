"""Measure the speed and accuracy of search on this server, with synthetic galleries: `pgface bench`."""
