"""What the notebook image adds to Jupyter Server."""
