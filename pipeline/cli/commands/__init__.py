"""One file per command: `add` describes it to argparse, `run` does it.

`add` imports nothing slow, so that `gridgate --help` starts at once; `run` imports what it needs.
"""
