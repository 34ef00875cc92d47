"""This room looks at what a kill would do, and changes nothing."""
