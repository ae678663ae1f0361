"""The agents' own doors: MCP, A2A, and the Synadia agent protocol. Each speaks for the gateway's `Door` and keeps
nothing of its own, so a task asked through one can be looked at, gone on with and cancelled through any other.
"""
