"""What the adapters of both venues use alike: documents read strictly, the venue's time, symbols, an inbox, a book."""
