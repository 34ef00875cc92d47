"""This room speaks to the venue for the emergency program: sockets, signatures, calls and rows."""
