"""Parts of a screen: the agent's terminal, the panes of the frame, the lines around them."""
