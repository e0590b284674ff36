"""The MCP server: Engram's tools for agents, over stdio and streamable HTTP."""
