"""What both faces of the paper exchange share: answers and frames as they leave, and the sockets that carry them."""
