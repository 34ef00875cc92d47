"""Where the outside market comes from."""
