"""What is in a set of pairs: looks at each pair, tallies of splits, problems, a contact sheet."""
