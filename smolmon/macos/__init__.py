"""What the tools of macOS print, read by pure functions: text in, frozen data out.

One module for each tool. None of them runs anything, and none raises for any text: a line that
cannot be read is left out, a value that is not known is None. Marks in the docstrings say what a
fact rests on:

- source: Apple's own code, network_cmds-741.100.2 (macOS 26.4) unless another is named;
- seen: output that somebody published from a real Mac, typed anew with our own addresses;
- man: the tool's manual page.

Nothing here has been run on a Mac; docs/macos.md has the checks for someone who has one.
"""
