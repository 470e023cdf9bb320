"""Statistics of a set of pairs, findings about it, and a contact sheet."""
