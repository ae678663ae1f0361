"""The HTTP door: tasks, their events and answers over HTTP, and the team as an OpenAI-compatible model.

A gateway keeps nothing: what it needs to go on is read from the bus, so any of several serves any client.
"""
