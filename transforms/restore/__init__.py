"""The way back: from scores on the network's grid to labels in the scan's grid."""
