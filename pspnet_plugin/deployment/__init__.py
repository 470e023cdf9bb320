"""Networks for use without the framework: loaded, exported, and checked before they are kept."""
