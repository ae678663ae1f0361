"""Tools: typed Python functions and MCP servers behind one Protocol."""
