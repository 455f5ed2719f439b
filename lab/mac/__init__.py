"""Stand-ins for Apple's tools, for nodes declared `platform: macos`.

Each keeps its state in a file and acts on the node's network namespace. They are installed on such
nodes at their real absolute paths and run there by Debian's python3: the standard library only, no
attrs. What they imitate, after which source, and what they do not: docs/macos.md.
"""
