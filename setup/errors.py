"""What can go wrong with one node, in one line each."""


class FactsError(ValueError):
    """The output of the facts script cannot be read. One line."""
