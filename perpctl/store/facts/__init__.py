"""What was measured once and is believed for a while."""
