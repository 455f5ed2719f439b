"""One module for each `smolmon` command; each is imported only when it is called."""
