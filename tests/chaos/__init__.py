"""The matrix: whatever is killed or stopped, whenever, a run ends with exactly what was wanted."""
