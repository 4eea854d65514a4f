"""One page of everything that was found out: see `write.write_report`."""
