"""What each network costs: parameters, GFLOPs, memory, seconds."""
