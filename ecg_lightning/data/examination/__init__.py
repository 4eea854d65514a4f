"""What a data set looks like before anything is made of it: its files, signals, patients and labels."""
